/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/image.h"

#include <elf.h>

#include "base/descriptor.h"
#include "base/signals.h"

#define ADDRESS_MAX	0x7fffffff0000ULL /* the end of what a process may map */
#define NOTE_NAME_BYTES 4

const uint64_t *image_find_auxv(char *const *envp)
{
	while (*envp)
		envp++;
	return (const uint64_t *)(const void *)(envp + 1);
}

uint64_t image_auxiliary(const uint64_t *auxv, uint64_t type)
{
	for (; auxv[0] != AT_NULL; auxv += 2)
		if (auxv[0] == type)
			return auxv[1];
	return 0;
}

/* ---- this host */

static uint32_t padded(uint32_t n)
{
	return (n + 3) & ~3U;
}

/* Find the build id among the notes; returns false if there is none. */
static bool find_build_id(const uint8_t *notes, uint64_t size, uint8_t *id)
{
	const Elf64_Nhdr *note;
	uint64_t at = 0;

	while (size - at >= sizeof(*note)) {
		note = (const void *)(notes + at);
		at += sizeof(*note);
		if (note->n_namesz > size - at ||
		    note->n_descsz > size - at - padded(note->n_namesz))
			return false;
		if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == NOTE_NAME_BYTES &&
		    note->n_descsz <= IMAGE_BUILD_ID) {
			at += padded(note->n_namesz);
			for (uint32_t i = 0; i < note->n_descsz; i++)
				id[i] = notes[at + i];
			return true;
		}
		at += padded(note->n_namesz) + padded(note->n_descsz);
		if (at > size)
			return false;
	}
	return false;
}

/* Read the build id of the vDSO. The kernel has put it there, so it is a well-formed ELF file. */
static bool vdso_build_id(const uint64_t *auxv, uint8_t *id)
{
	const uint8_t *vdso = (const uint8_t *)image_auxiliary(auxv, AT_SYSINFO_EHDR);
	const Elf64_Ehdr *elf = (const void *)vdso;
	const Elf64_Phdr *program;

	if (!vdso)
		return false;
	program = (const void *)(vdso + elf->e_phoff);
	for (int i = 0; i < elf->e_phnum; i++)
		if (program[i].p_type == PT_NOTE &&
		    find_build_id(vdso + program[i].p_offset, program[i].p_filesz, id))
			return true;
	return false;
}

static bool read_boot_id(char *id)
{
	OWNED_FD fd = sys_open("/proc/sys/kernel/random/boot_id", O_RDONLY);
	const long n = fd < 0 ? fd : sys_read(fd, id, IMAGE_BOOT_ID - 1);

	if (n < 32)
		return false;
	if (id[n - 1] == '\n')
		id[n - 1] = '\0';
	return true;
}

bool image_host_is(const uint64_t *auxv, struct image_host *host)
{
	*host = (struct image_host){
		.hwcap = image_auxiliary(auxv, AT_HWCAP),
		.hwcap2 = image_auxiliary(auxv, AT_HWCAP2),
		.minsigstksz = image_auxiliary(auxv, AT_MINSIGSTKSZ),
		.page_size = image_auxiliary(auxv, AT_PAGESZ),
	};
	return host->page_size == IMAGE_PAGE && vdso_build_id(auxv, host->vdso_id) &&
	       read_boot_id(host->boot_id);
}

/* ---- the tables */

/* Returns the first record of the table, or NULL if the table is not in the header. */
static const void *table(const struct image *image, struct image_table where, size_t record)
{
	uint64_t size = image->header->header_size;

	if (where.offset % 8 != 0 || where.offset > size ||
	    where.count > (size - where.offset) / record)
		return NULL;
	return image->data + where.offset;
}

static bool find_tables(struct image *image)
{
	const struct image_header *h = image->header;

	image->regions = table(image, h->regions, sizeof(*image->regions));
	image->files = table(image, h->files, sizeof(*image->files));
	image->words = table(image, h->words, sizeof(*image->words));
	image->signals = table(image, h->signals, sizeof(*image->signals));
	image->hot = table(image, h->hot, sizeof(*image->hot));
	image->large = table(image, h->large, sizeof(*image->large));
	return image->regions && image->files && image->words && image->signals && image->hot &&
	       image->large;
}

const char *image_path(const struct image *image, const struct image_file *file)
{
	return (const char *)image->data + file->path;
}

static bool is_path(const struct image *image, uint32_t offset)
{
	uint64_t at = offset;

	if (at >= image->header->header_size || image->data[at] != '/')
		return false;
	while (at < image->header->header_size)
		if (!image->data[at++])
			return true;
	return false;
}

static bool is_page(uint64_t value)
{
	return value % IMAGE_PAGE == 0;
}

static const char *check_region(const struct image *image, const struct image_region *r)
{
	const struct image_header *h = image->header;

	if (!is_page(r->start) || !is_page(r->end) || !is_page(r->offset))
		return "a region is not at a page's boundary";
	if (r->start < IMAGE_PAGE || r->start >= r->end || r->end > ADDRESS_MAX)
		return "a region is where no process has memory";
	if (r->prot & ~(PROT_READ | PROT_WRITE | PROT_EXEC) ||
	    ((r->prot & PROT_WRITE) && (r->prot & PROT_EXEC)))
		return "a region is to be writable and executable";
	if (r->kind < REGION_FILE || r->kind > REGION_DROPPABLE ||
	    r->flags & ~(REGION_WIPE_ON_FORK | REGION_LARGE))
		return "a region is of an unknown kind";
	if (r->kind == REGION_FILE &&
	    ((r->prot & PROT_WRITE) || r->file >= h->files.count ||
	     !image->files[r->file].is_mapped || r->offset >= image->files[r->file].size))
		return "a region is of a file that cannot have it";
	if (r->kind != REGION_FILE && (r->prot & PROT_EXEC))
		return "a region of no file is to be executable";
	if (r->kind == REGION_SAVED && (r->offset < h->header_size || r->offset > h->file_size ||
					r->end - r->start > h->file_size - r->offset))
		return "a region's content is past the end of the image";
	return NULL;
}

static const char *check_large(const struct image *image)
{
	uint64_t last = IMAGE_LARGE_PAGE;

	for (uint32_t i = 0; i < image->header->large.count; i++) {
		const struct image_range *range = &image->large[i];

		if (range->start % IMAGE_LARGE_PAGE != 0 || range->end % IMAGE_LARGE_PAGE != 0 ||
		    range->start < last || range->start >= range->end || range->end > ADDRESS_MAX)
			return "a large range is not of large pages";
		last = range->end;
	}
	return NULL;
}

/* A region is in a large range if it says so, and only then. `large` is where to look first. */
static bool agrees_with_large(const struct image *image, const struct image_region *r,
			      uint32_t *large)
{
	const uint32_t count = image->header->large.count;
	const struct image_range *range;

	while (*large < count && image->large[*large].end <= r->start)
		(*large)++;
	range = &image->large[*large];
	if (!(r->flags & REGION_LARGE))
		return *large == count || r->end <= range->start;
	return *large < count && r->start >= range->start && r->end <= range->end &&
	       (r->kind == REGION_SAVED || r->kind == REGION_ZERO) &&
	       r->prot == (PROT_READ | PROT_WRITE) && r->flags == REGION_LARGE;
}

/* Check all regions. They are sorted, so that no two of them can be the same memory. */
static const char *check_regions(const struct image *image)
{
	uint64_t end = 0;
	uint32_t large = 0;
	const char *wrong;

	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		wrong = check_region(image, &image->regions[i]);
		if (wrong)
			return wrong;
		if (image->regions[i].start < end)
			return "two regions overlap";
		if (!agrees_with_large(image, &image->regions[i], &large))
			return "a region is not where the large ranges have it";
		end = image->regions[i].end;
	}
	return NULL;
}

/* Returns whether one region, of one of these kinds and with these rights, has all of this memory.
 * The search begins at `*from`, which becomes the number of the region that was found. */
static bool lies_in(const struct image *image, uint64_t at, uint64_t size, unsigned kinds, int prot,
		    uint32_t *from)
{
	uint32_t count = image->header->regions.count;

	for (; *from < count && image->regions[*from].end <= at; (*from)++)
		;
	if (*from == count)
		return false;
	return at >= image->regions[*from].start && size <= image->regions[*from].end - at &&
	       (kinds >> image->regions[*from].kind & 1) &&
	       (image->regions[*from].prot & prot) == prot;
}

#define SAVED	 (1U << REGION_SAVED)
#define ANYWHERE (SAVED | 1U << REGION_ZERO)

static const char *check_words(const struct image *image)
{
	uint64_t last = 0;
	uint32_t region = 0;

	for (uint32_t i = 0; i < image->header->words.count; i++) {
		const struct image_word *word = &image->words[i];

		if (word->kind < WORD_NOTHING || word->kind > WORD_LAST || word->at % 8 != 0 ||
		    word->at < last ||
		    !lies_in(image, word->at, sizeof(uint64_t), SAVED, PROT_READ, &region))
			return "a word is not in what was saved";
		last = word->at;
	}
	return NULL;
}

static const char *check_hot(const struct image *image)
{
	uint64_t last = 0;
	uint32_t region = 0;

	for (uint32_t i = 0; i < image->header->hot.count; i++) {
		const struct image_range *range = &image->hot[i];

		if (!is_page(range->start) || !is_page(range->end) || range->start >= range->end ||
		    range->start < last ||
		    !lies_in(image, range->start, range->end - range->start, ANYWHERE, PROT_WRITE,
			     &region))
			return "a hot range is not in memory that is written to";
		last = range->end;
	}
	return NULL;
}

static bool is_writable(const struct image *image, uint64_t at, uint64_t size)
{
	uint32_t region = 0;

	return at % 4 == 0 && lies_in(image, at, size, ANYWHERE, PROT_READ | PROT_WRITE, &region);
}

#define ROBUST_SIZE 24

static const char *check_thread(const struct image *image)
{
	const struct image_header *h = image->header;
	uint32_t region = 0;

	if (!is_writable(image, h->fs_base, IMAGE_CANARY + sizeof(uint64_t)) ||
	    !is_writable(image, h->tid_address, sizeof(uint32_t)) ||
	    !is_writable(image, h->robust_list, ROBUST_SIZE) || h->robust_size != ROBUST_SIZE)
		return "the thread's data are not in it";
	if (h->rseq_size && (h->rseq_size != IMAGE_RSEQ_SIZE || h->rseq % IMAGE_RSEQ_SIZE != 0 ||
			     !is_writable(image, h->rseq, IMAGE_RSEQ_SIZE)))
		return "the thread's rseq area is not in it";
	if (!lies_in(image, h->resume, 1, 1U << REGION_FILE, PROT_EXEC, &region))
		return "the function to resume it is not in it";
	for (uint32_t i = 0; i < h->signals.count; i++)
		if (image->signals[i].number < 1 || image->signals[i].number > SIGNAL_MAX)
			return "a signal that there is not";
	return NULL;
}

static const char *check_files(const struct image *image)
{
	for (uint32_t i = 0; i < image->header->files.count; i++)
		if (!is_path(image, image->files[i].path))
			return "a file has no absolute path";
	return NULL;
}

static bool has_magic(const uint8_t *data)
{
	for (size_t i = 0; i < sizeof(IMAGE_MAGIC); i++)
		if (data[i] != (uint8_t)IMAGE_MAGIC[i])
			return false;
	return true;
}

const char *image_parse(const uint8_t *data, uint64_t size, uint64_t file_size, struct image *image)
{
	const struct image_header *header = (const void *)data;
	const char *wrong;

	*image = (struct image){ .fd = -1, .data = data, .header = header };
	if (size < sizeof(*header) || !has_magic(data))
		return "it is no image";
	if (header->format != IMAGE_FORMAT)
		return "its format is another version's";
	if (header->file_size != file_size)
		return "its size is another than it says";
	if (!is_page(header->header_size) || header->header_size > size ||
	    header->header_size > IMAGE_HEADER_MAX || !find_tables(image))
		return "its tables run past the end";
	(void)((wrong = check_files(image)) || (wrong = check_large(image)) ||
	       (wrong = check_regions(image)) || (wrong = check_words(image)) ||
	       (wrong = check_hot(image)) || (wrong = check_thread(image)));
	return wrong;
}
