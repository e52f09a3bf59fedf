/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_regions.h"

#include <string.h>

#include "base/descriptor.h"
#include "interpreter/dump_files.h"
#include "interpreter/refusal.h"

#define ZEROES_LEAST 16 /* pages: fewer are not worth a mapping of their own */

/* ---- memory that a file has */

/* Returns whether memory is what the file has at the place where it is mapped. */
static bool equals_file(struct dump_tables *t, const struct mapping *m, int fd, uint64_t file_size)
{
	uint64_t at = m->start;
	uint64_t end = m->end;

	if (m->offset >= file_size)
		return false;
	if (end - at > file_size - m->offset)
		end = at + file_size - m->offset;
	while (at < end) {
		size_t size = end - at < sizeof(t->compared) ? end - at : sizeof(t->compared);
		long n = SYS4(SYS_pread64, fd, t->compared, size, m->offset + (at - m->start));

		if (n != (long)size || memcmp(t->compared, (const void *)at, size) != 0)
			return false;
		at += size;
	}
	return true;
}

/* Add a mapping of a file, which is mapped from the file again. Returns false if that would not be
 * the same memory: it has been written to, or another file has that name now. */
static bool add_from_file(struct dump_tables *t, const struct mapping *m)
{
	struct image_region *region;
	OWNED_FD fd = -1;
	struct stat st;

	if (m->name[0] != '/' || m->writable || !m->readable)
		return false;
	fd = sys_open(m->name, O_RDONLY);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    !equals_file(t, m, fd, (uint64_t)st.st_size))
		return false;
	region = dump_add_region(t, m, m->start, m->end, REGION_FILE);
	region->offset = m->offset;
	region->file = dump_add_mapped_file(t, m->name, &st);
	return true;
}

/* ---- memory that is saved */

static bool is_zero(const uint8_t *page)
{
	const uint64_t *word = (const void *)page;

	for (size_t i = 0; i < IMAGE_PAGE / sizeof(*word); i++)
		if (word[i])
			return false;
	return true;
}

/* Returns how many pages from `at` on are zero. */
static uint64_t count_zeroes(uint64_t at, uint64_t end)
{
	uint64_t count = 0;

	for (; at < end && is_zero((const uint8_t *)at); at += IMAGE_PAGE)
		count++;
	return count;
}

static void add_saved(struct dump_tables *t, const struct mapping *m, uint64_t start, uint64_t end)
{
	struct image_region *region;

	if (start == end)
		return;
	region = dump_add_region(t, m, start, end, REGION_SAVED);
	region->offset = t->contents_size;
	t->contents_size += end - start;
}

/* Save a mapping, apart from long runs of zeroes, which become anonymous memory. */
static void add_contents(struct dump_tables *t, const struct mapping *m)
{
	uint64_t saved = m->start;
	uint64_t at = m->start;

	while (at < m->end) {
		uint64_t zeroes = count_zeroes(at, m->end);
		uint64_t end = at + zeroes * IMAGE_PAGE;

		if (zeroes >= ZEROES_LEAST || (zeroes && saved == at && end == m->end)) {
			add_saved(t, m, saved, at);
			dump_add_region(t, m, at, end, REGION_ZERO);
			saved = end;
		}
		at = zeroes ? end : at + IMAGE_PAGE;
	}
	add_saved(t, m, saved, m->end);
}

/* Returns where the part of a mapping ends that lies in one large range, or in none. */
static uint64_t end_of_part(const struct dump_tables *t, uint64_t start, uint64_t end)
{
	for (uint32_t i = 0; i < t->header.large.count; i++) {
		const struct image_range *range = &t->large[i];

		if (start < range->start && range->start < end)
			end = range->start;
		if (start < range->end && range->end < end)
			end = range->end;
	}
	return end;
}

static void add_parts(struct dump_tables *t, const struct mapping *m)
{
	struct mapping part = *m;

	for (; part.start < m->end; part.start = part.end) {
		part.end = end_of_part(t, part.start, m->end);
		add_contents(t, &part);
	}
}

/* ---- which of them */

static void check_mapping(const struct mapping *m)
{
	if (m->writable && m->executable)
		refuse_image("a mapping is writable and executable", m->name);
	/* Another process, or the file, may change it. */
	if (m->shared)
		refuse_image("a mapping is shared", m->name);
}

/* Code is mapped from its file alone, so that no image has to be executable: it may be on a file
 * system that is mounted with noexec. */
static void refuse_code(const struct mapping *m)
{
	if (m->executable)
		refuse_image("code is not what its file has", m->name);
}

static void add_mapping(const struct mapping *m, void *context)
{
	struct dump_tables *t = context;

	if (m->start == (uintptr_t)t)
		return;
	check_mapping(m);
	if (m->droppable) {
		/* Such memory is wiped on fork(2) as well, without a flag for it. */
		dump_add_region(t, m, m->start, m->end, REGION_DROPPABLE)->flags = 0;
	} else if (m->is_wiped || !m->readable) {
		/* What is wiped must not get into the image: it is there so that no two processes
		 * have the same random numbers. */
		refuse_code(m);
		dump_add_region(t, m, m->start, m->end, REGION_ZERO);
	} else if (!add_from_file(t, m)) {
		refuse_code(m);
		add_parts(t, m);
	}
}

void dump_add_regions(struct dump_tables *t)
{
	memory_map_read(t->maps, sizeof(t->maps));
	memory_map_visit(t->maps, &t->own, add_mapping, t);
}
