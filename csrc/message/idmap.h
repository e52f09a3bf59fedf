/* SPDX-License-Identifier: Apache-2.0 */
/* Id maps as text, `container host size` a line: read and checked. Pure functions. */
#ifndef NSX_IDMAP_H
#define NSX_IDMAP_H

#include "base/text.h"

/* What the kernel takes in one write to /proc/PID/uid_map (user_namespaces(7)). */
#define IDMAP_LINES_MAX 340
#define IDMAP_BYTES_MAX 4095

struct idmap {
	uint32_t container;
	uint32_t host;
	uint32_t size;
};

/* One line without its newline. NULL, or what is wrong with it. */
const char *idmap_parse_line(struct span line, struct idmap *map);
/* A whole map. NULL, or what is wrong; `*at` is then the offset of the line that is. */
const char *idmap_check(struct span text, size_t *at);
/* Whether `id` exists inside; false for a map that is not well formed. */
bool idmap_maps(struct span text, uint32_t id);

#endif
