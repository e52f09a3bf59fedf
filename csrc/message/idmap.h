/* SPDX-License-Identifier: Apache-2.0 */
/* Id maps as text, with lines of "container host size". The functions read and check text alone. */
#ifndef NSX_IDMAP_H
#define NSX_IDMAP_H

#include "base/text.h"

/* The most that the kernel takes in one write to /proc/PID/uid_map (user_namespaces(7)). */
#define IDMAP_LINES_MAX 340
#define IDMAP_BYTES_MAX 4095

struct idmap {
	uint32_t container;
	uint32_t host;
	uint32_t size;
};

/* Read a line without its newline. Returns NULL, or what is wrong with it. */
const char *idmap_parse_line(struct span line, struct idmap *map);
/* Check a whole map. Returns NULL, or what is wrong; `*at` is then the offset of the wrong line. */
const char *idmap_check(struct span text, size_t *at);
/* Returns whether `id` exists inside. If the map is not well formed, it does not. */
bool idmap_maps(struct span text, uint32_t id);

#endif
