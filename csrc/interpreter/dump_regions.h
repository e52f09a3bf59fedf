/* SPDX-License-Identifier: Apache-2.0 */
/* Which memory an image saves, and which it has mapped again. */
#ifndef NSX_DUMP_REGIONS_H
#define NSX_DUMP_REGIONS_H

#include "interpreter/dump_tables.h"

/* Add a region for each mapping that an image can have. If it cannot have one, none is made. */
void dump_add_regions(struct dump_tables *t);

#endif
