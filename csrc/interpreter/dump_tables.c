/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_tables.h"

#include <string.h>

#include "interpreter/refusal.h"

struct dump_tables *dump_tables_make(const struct image_process *process)
{
	struct dump_tables *t;
	long memory = SYS6(SYS_mmap, 0, sizeof(*t), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (sys_is_error(memory))
		refuse_image("there is no memory for the tables", "");
	t = (struct dump_tables *)memory;
	memcpy(t->header.magic, IMAGE_MAGIC, sizeof(IMAGE_MAGIC));
	t->header.format = IMAGE_FORMAT;
	t->process = process;
	return t;
}

static uint16_t protection(const struct mapping *m)
{
	return (uint16_t)((m->readable ? PROT_READ : 0) | (m->writable ? PROT_WRITE : 0) |
			  (m->executable ? PROT_EXEC : 0));
}

static uint32_t flags_of(const struct dump_tables *t, const struct mapping *m, uint64_t start)
{
	uint32_t flags = m->is_wiped ? REGION_WIPE_ON_FORK : 0;

	for (uint32_t i = 0; i < t->header.large.count; i++)
		if (start >= t->large[i].start && start < t->large[i].end)
			flags |= REGION_LARGE;
	return flags;
}

struct image_region *dump_add_region(struct dump_tables *t, const struct mapping *m, uint64_t start,
				     uint64_t end, enum region_kind kind)
{
	struct image_region *region = &t->regions[t->header.regions.count];

	if (t->header.regions.count == DUMP_REGIONS_MAX)
		refuse_image("there are too many mappings", "");
	t->header.regions.count++;
	*region = (struct image_region){
		.start = start,
		.end = end,
		.kind = (uint16_t)kind,
		.prot = protection(m),
		.flags = flags_of(t, m, start),
	};
	return region;
}

struct image_file *dump_add_file(struct dump_tables *t)
{
	if (t->header.files.count == IMAGE_FILES_MAX)
		refuse_image("there are too many files", "");
	return &t->files[t->header.files.count++];
}

void dump_add_word(struct dump_tables *t, uint64_t at, enum word_kind kind, uint64_t offset)
{
	if (t->header.words.count == DUMP_WORDS_MAX)
		refuse_image("too many words point into the stack", "");
	t->words[t->header.words.count++] = (struct image_word){
		.at = at,
		.kind = kind,
		.offset = (uint32_t)offset,
	};
}

uint32_t dump_add_string(struct dump_tables *t, const char *string)
{
	const size_t size = strlen(string) + 1;
	const uint32_t at = t->strings_size;

	if (size > sizeof(t->strings) - at)
		refuse_image("there are too many files", "");
	memcpy(t->strings + at, string, size);
	t->strings_size += (uint32_t)size;
	return at;
}
