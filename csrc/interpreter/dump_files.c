/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_files.h"

#include <string.h>

#include "interpreter/refusal.h"

uint32_t dump_add_mapped_file(struct dump_tables *t, const char *path, const struct stat *st)
{
	for (uint32_t i = 0; i < t->header.files.count; i++)
		if (t->files[i].is_mapped && strcmp(t->strings + t->files[i].path, path) == 0)
			return i;
	*dump_add_file(t) = (struct image_file){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size = (uint64_t)st->st_size,
		.changed_s = st->st_ctim.tv_sec,
		.changed_ns = (uint32_t)st->st_ctim.tv_nsec,
		.modified_s = st->st_mtim.tv_sec,
		.modified_ns = (uint32_t)st->st_mtim.tv_nsec,
		.path = dump_add_string(t, path),
		.is_mapped = 1,
	};
	return t->header.files.count - 1;
}

/* The list, which is mapped. */
struct list {
	const uint8_t *data;
	uint64_t size;
	uint64_t count;
	const struct image_file *records;
};

static struct list map_list(int fd)
{
	struct stat st;
	struct list list;
	long memory;

	if (fstat(fd, &st) < 0 || st.st_size < (off_t)sizeof(list.count))
		refuse_image("the list of files cannot be read", "");
	memory = SYS6(SYS_mmap, 0, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (sys_is_error(memory))
		refuse_image("the list of files cannot be mapped", "");
	list.data = (const uint8_t *)memory;
	list.size = (uint64_t)st.st_size;
	list.count = *(const uint64_t *)(const void *)list.data;
	list.records = (const void *)(list.data + sizeof(list.count));
	if (list.count > (list.size - sizeof(list.count)) / sizeof(*list.records))
		refuse_image("the list of files is shorter than it says", "");
	return list;
}

/* Returns a path in the list, which is a string within it. */
static const char *path_in(const struct list *list, uint32_t offset)
{
	if (offset >= list->size || !memchr(list->data + offset, '\0', list->size - offset))
		refuse_image("a path in the list of files lies outside it", "");
	return (const char *)list->data + offset;
}

void dump_add_listed_files(struct dump_tables *t, int list_fd)
{
	const struct list list = map_list(list_fd);

	for (uint64_t i = 0; i < list.count; i++) {
		struct image_file *file = dump_add_file(t);

		*file = list.records[i];
		file->path = dump_add_string(t, path_in(&list, list.records[i].path));
		file->is_mapped = 0;
	}
	SYS2(SYS_munmap, list.data, list.size);
}
