/* SPDX-License-Identifier: Apache-2.0 */
#include "message/idmap.h"

/* To the kernel, (uid_t)-1 means "no id", which cannot be mapped. */
#define ID_MAX 4294967294U

static bool parse_word(struct span *line, uint32_t max, uint32_t *out)
{
	struct span word;
	uint64_t n;

	if (!span_next(line, ' ', &word) || !parse_decimal(word, max, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool fits(uint32_t first, uint32_t size)
{
	return size - 1 <= ID_MAX - first;
}

const char *idmap_parse_line(struct span line, struct idmap *map)
{
	bool blank_at_end = line.len && line.data[line.len - 1] == ' ';

	if (!parse_word(&line, ID_MAX, &map->container) || !parse_word(&line, ID_MAX, &map->host) ||
	    !parse_word(&line, UINT32_MAX, &map->size) || line.len || blank_at_end)
		return "a line is not `container host size` in plain decimals";
	if (map->size == 0)
		return "a range has size 0";
	if (!fits(map->container, map->size) || !fits(map->host, map->size))
		return "a range ends past the last id, 4294967294";
	return NULL;
}

static bool ranges_meet(uint32_t a, uint32_t a_size, uint32_t b, uint32_t b_size)
{
	return a < b ? b - a < a_size : a - b < b_size;
}

static const char *check_overlap(const struct idmap *maps, size_t n)
{
	const struct idmap *last = &maps[n];

	for (size_t i = 0; i < n; i++) {
		if (ranges_meet(maps[i].container, maps[i].size, last->container, last->size))
			return "a range overlaps an earlier one on the container's side";
		if (ranges_meet(maps[i].host, maps[i].size, last->host, last->size))
			return "a range overlaps an earlier one on the host's side";
	}
	return NULL;
}

/* Returns where a range ends, or where an earlier one ends that reaches further. */
static uint64_t end_of(uint32_t first, uint32_t size, uint64_t furthest)
{
	uint64_t end = (uint64_t)first + size;

	return end > furthest ? end : furthest;
}

const char *idmap_check(struct span text, size_t *at)
{
	struct idmap maps[IDMAP_LINES_MAX];
	uint64_t container_end = 0, host_end = 0;
	struct span rest = text;
	struct span line;
	const char *wrong;
	size_t n;

	*at = 0;
	if (text.len > IDMAP_BYTES_MAX)
		return "the map is not under 4096 bytes, the most the kernel takes";
	for (n = 0; span_ended(&rest, '\n', &line); n++) {
		*at = (size_t)(line.data - text.data);
		if (n == IDMAP_LINES_MAX)
			return "the map has over 340 lines, the most the kernel takes";
		wrong = idmap_parse_line(line, &maps[n]);
		/* If both sides rise, as in most maps, a line need not be compared with every
		 * other. */
		if (!wrong && (maps[n].container < container_end || maps[n].host < host_end))
			wrong = check_overlap(maps, n);
		if (wrong)
			return wrong;
		container_end = end_of(maps[n].container, maps[n].size, container_end);
		host_end = end_of(maps[n].host, maps[n].size, host_end);
	}
	*at = (size_t)(rest.data - text.data);
	if (rest.len)
		return "the last line does not end in a newline";
	return n ? NULL : "the map is empty";
}

bool idmap_maps(struct span text, uint32_t id)
{
	struct span line;
	struct idmap map;

	while (span_ended(&text, '\n', &line)) {
		if (idmap_parse_line(line, &map))
			return false;
		if (id >= map.container && id - map.container < map.size)
			return true;
	}
	return false;
}
