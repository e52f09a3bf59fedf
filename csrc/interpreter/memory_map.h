/* SPDX-License-Identifier: Apache-2.0 */
/* What memory this process has mapped, as proc(5) lists it in /proc/self/smaps. */
#ifndef NSX_MEMORY_MAP_H
#define NSX_MEMORY_MAP_H

#include "interpreter/image.h"

struct mapping {
	uint64_t start;
	uint64_t end;
	uint64_t offset;
	bool readable, writable, executable, shared;
	bool droppable;	  /* the kernel may drop its pages (MAP_DROPPABLE) */
	bool is_wiped;	  /* it is empty in a child (MADV_WIPEONFORK) */
	const char *name; /* "" for anonymous memory */
};

/* Memory that each process has of its own, so that it is not part of an image. */
struct own_memory {
	struct image_range stack;
	struct image_range vdso;
};

typedef void mapping_visitor(const struct mapping *mapping, void *context);

/* Read the list into `text`, which has `room` bytes. */
void memory_map_read(char *text, size_t room);

/* Call `visit` for each mapping that is not the process's own, and set `own` to where those are.
 * The text is changed. */
void memory_map_visit(char *text, struct own_memory *own, mapping_visitor *visit, void *context);

#endif
