/* SPDX-License-Identifier: Apache-2.0 */
/* Writing an image. */
#ifndef NSX_DUMP_WRITE_H
#define NSX_DUMP_WRITE_H

#include "interpreter/dump_tables.h"

/* Write the header, the tables and the saved memory. Room for the hot ranges is left empty:
 * nsenter/_interpreter/image_maker.py fills it in after it has tried the image. */
void dump_write(struct dump_tables *t, int out_fd);

#endif
