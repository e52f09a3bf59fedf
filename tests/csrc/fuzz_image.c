/* libFuzzer's target: the tables of a memory image. What is accepted must be safe to be used as
 * interpreter/restore.c uses it: every record is read, and no region, word or range is outside of
 * the others.
 */
#include <stdlib.h>
#include <string.h>

#include "interpreter/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct image_region *region_of(const struct image *image, uint64_t at, uint64_t size)
{
	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		const struct image_region *region = &image->regions[i];

		if (at >= region->start && at < region->end && region->end - at >= size)
			return region;
	}
	abort();
}

static void read_files(const struct image *image, uint32_t is_mapped)
{
	for (uint32_t i = 0; i < image->header->files.count; i++) {
		const char *path = image_path(image, &image->files[i]);

		if (path[0] != '/' || strlen(path) > image->header->header_size)
			abort();
		if (is_mapped && image->files[i].is_mapped > 1 && path[0] == '\0')
			abort();
	}
}

static bool in_large(const struct image *image, const struct image_region *r)
{
	for (uint32_t i = 0; i < image->header->large.count; i++)
		if (r->start >= image->large[i].start && r->end <= image->large[i].end)
			return true;
	return false;
}

static void read_regions(const struct image *image)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		const struct image_region *r = &image->regions[i];

		if (r->start < end || r->end <= r->start || r->start % IMAGE_PAGE)
			abort();
		if ((r->prot & PROT_WRITE) && (r->prot & PROT_EXEC))
			abort();
		if (r->kind == REGION_FILE &&
		    (r->file >= image->header->files.count || !image->files[r->file].is_mapped))
			abort();
		if (r->kind == REGION_SAVED &&
		    r->offset + (r->end - r->start) > image->header->file_size)
			abort();
		if (r->flags & REGION_LARGE &&
		    (r->kind == REGION_FILE || !(r->prot & PROT_WRITE) || !in_large(image, r)))
			abort();
		end = r->end;
	}
}

static void read_places(const struct image *image)
{
	const struct image_header *h = image->header;

	for (uint32_t i = 0; i < h->words.count; i++)
		if (region_of(image, image->words[i].at, 8)->kind != REGION_SAVED)
			abort();
	for (uint32_t i = 0; i < h->hot.count; i++)
		region_of(image, image->hot[i].start, image->hot[i].end - image->hot[i].start);
	region_of(image, h->fs_base, 0x30);
	region_of(image, h->tid_address, 4);
	if (!(region_of(image, h->resume, 1)->prot & PROT_EXEC))
		abort();
	for (uint32_t i = 0; i < h->signals.count; i++)
		if (image->signals[i].number - 1 >= 64)
			abort();
}

/* What comes is the header; its magic, format and sizes are made to fit, or nothing would be found
 * behind them. The first byte says by how much the file is larger. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t room = (size + IMAGE_PAGE - 1) / IMAGE_PAGE * IMAGE_PAGE;
	struct image_header *header;
	struct image image;
	uint8_t *copy;

	if (image_parse(data, size, size, &image) == NULL)
		read_regions(&image);
	if (size < sizeof(*header))
		return 0;
	copy = calloc(1, room);
	if (!copy)
		abort();
	memcpy(copy, data, size);
	header = (void *)copy;
	memcpy(header->magic, IMAGE_MAGIC, sizeof(IMAGE_MAGIC));
	header->format = IMAGE_FORMAT;
	header->header_size = room;
	header->file_size = room + IMAGE_PAGE * (uint64_t)data[0];
	if (image_parse(copy, room, header->file_size, &image) == NULL) {
		read_files(&image, 1);
		read_regions(&image);
		read_places(&image);
	}
	free(copy);
	return 0;
}
