/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of an image that is being made: interpreter/image.h says what each of them is for. */
#ifndef NSX_DUMP_TABLES_H
#define NSX_DUMP_TABLES_H

#include "base/signals.h"
#include "interpreter/large_pages.h"
#include "interpreter/memory_map.h"

#define DUMP_MAPS_ROOM	   (4U << 20)
#define DUMP_REGIONS_MAX   8192
#define DUMP_WORDS_MAX	   4096
#define DUMP_STRINGS_ROOM  (1U << 20)
#define DUMP_COMPARED_ROOM (1U << 16)

/*
 * They are in memory that is shared, and so not saved: memory that is being saved must not change
 * meanwhile. For the same reason no function that fills them may allocate any.
 */
struct dump_tables {
	char maps[DUMP_MAPS_ROOM];
	struct image_header header; /* its tables' `count` is how many records there are so far */
	struct image_region regions[DUMP_REGIONS_MAX];
	struct image_file files[IMAGE_FILES_MAX];
	struct image_word words[DUMP_WORDS_MAX];
	struct image_signal signals[SIGNAL_MAX];
	struct image_range large[LARGE_RANGES];
	char strings[DUMP_STRINGS_ROOM];
	uint32_t strings_size;
	uint64_t contents_size; /* of all regions that are saved so far */
	const struct image_process *process;
	struct own_memory own;
	uint8_t compared[DUMP_COMPARED_ROOM]; /* what a file has, to be compared with memory */
};

struct dump_tables *dump_tables_make(const struct image_process *process);

/* Each of these adds a record; if there is no room for it, no image is made. */
struct image_region *dump_add_region(struct dump_tables *t, const struct mapping *m, uint64_t start,
				     uint64_t end, enum region_kind kind);
struct image_file *dump_add_file(struct dump_tables *t);
void dump_add_word(struct dump_tables *t, uint64_t at, enum word_kind kind, uint64_t offset);
/* Returns the offset of the string among the strings. */
uint32_t dump_add_string(struct dump_tables *t, const char *string);

#endif
