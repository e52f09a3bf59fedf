/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel keeps of the process that an image is made of, and what it must not have. */
#ifndef NSX_DUMP_PROCESS_H
#define NSX_DUMP_PROCESS_H

#include "interpreter/dump_tables.h"

/* An image has one thread, and no descriptor above the standard streams. If the process has
 * another, no image is made; `out_fd` is the descriptor that the image is written to. */
void dump_check_threads(void);
void dump_check_descriptors(int out_fd);

/* Record what the kernel and libc know of the thread. */
void dump_describe_thread(struct image_header *header);
/* Record the signals that are not at their defaults. */
void dump_describe_signals(struct dump_tables *t);

#endif
