/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_write.h"

#include <string.h>

#include "base/descriptor.h"
#include "interpreter/refusal.h"

#define HOT_RANGES 512 /* room for so many, which is at least a page */
#define HOT_ROOM   (HOT_RANGES * sizeof(struct image_range))

static void put(int fd, const void *data, uint64_t size)
{
	const long ret = descriptor_write_all(fd, data, size);

	if (ret < 0)
		refuse_image("it cannot be written", strerror((int)-ret));
}

static void place(struct image_table *table, uint64_t record, uint64_t *at)
{
	table->offset = (uint32_t)*at;
	*at += table->count * record;
}

/* Say in the header where everything is, in the order in which write_tables() writes it. */
static void lay_out(struct dump_tables *t)
{
	struct image_header *h = &t->header;
	uint64_t at = sizeof(*h);

	place(&h->regions, sizeof(t->regions[0]), &at);
	place(&h->files, sizeof(t->files[0]), &at);
	place(&h->words, sizeof(t->words[0]), &at);
	place(&h->signals, sizeof(t->signals[0]), &at);
	place(&h->large, sizeof(t->large[0]), &at);
	h->hot.offset = (uint32_t)at;
	at += HOT_ROOM;
	for (uint32_t i = 0; i < h->files.count; i++)
		t->files[i].path += (uint32_t)at;
	at += t->strings_size;
	h->header_size = (at + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
	h->file_size = h->header_size + t->contents_size;
	if (h->header_size > IMAGE_HEADER_MAX)
		refuse_image("its tables are too large", "");
	for (uint32_t i = 0; i < h->regions.count; i++)
		if (t->regions[i].kind == REGION_SAVED)
			t->regions[i].offset += h->header_size;
}

static void write_tables(const struct dump_tables *t, int fd)
{
	static const uint8_t padding[HOT_ROOM];
	const struct image_header *h = &t->header;
	const uint64_t used = h->hot.offset + HOT_ROOM + t->strings_size;

	_Static_assert(HOT_ROOM >= IMAGE_PAGE, "the padding fills up a page");
	put(fd, h, sizeof(*h));
	put(fd, t->regions, h->regions.count * sizeof(t->regions[0]));
	put(fd, t->files, h->files.count * sizeof(t->files[0]));
	put(fd, t->words, h->words.count * sizeof(t->words[0]));
	put(fd, t->signals, h->signals.count * sizeof(t->signals[0]));
	put(fd, t->large, h->large.count * sizeof(t->large[0]));
	put(fd, padding, HOT_ROOM);
	put(fd, t->strings, t->strings_size);
	put(fd, padding, h->header_size - used);
}

void dump_write(struct dump_tables *t, int out_fd)
{
	lay_out(t);
	write_tables(t, out_fd);
	for (uint32_t i = 0; i < t->header.regions.count; i++)
		if (t->regions[i].kind == REGION_SAVED)
			put(out_fd, (const void *)t->regions[i].start,
			    t->regions[i].end - t->regions[i].start);
}
