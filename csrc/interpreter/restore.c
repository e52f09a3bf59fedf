/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing may be in the way: nsinit is linked to an address where no image has memory, makes no
 * other mapping, and MAP_FIXED_NOREPLACE tells if the stack, which is somewhere else each time, is
 * where the image has something. Then, and in every other doubt, the ordinary boot is used: see
 * nsenter/_interpreter/image.py.
 */
#include "interpreter/restore.h"

#include <elf.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/descriptor.h"
#include "base/rseq.h"

#define ARCH_SET_FS 0x1002
#define CANARY_MASK (~0xffULL)
#define FILE_HINT   0x78000000UL

#if defined(__x86_64__)
#define NSX_RESTORES 1
#else
#define NSX_RESTORES 0
#endif

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int refuse(struct err *err, const char *subject, const char *reason)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, subject);
	text_add(&t, ": ");
	text_add(&t, reason);
	return err_set(err, "use the image", text_end(&t), ESTALE);
}

/* ---- the file */

/* Whoever can write to it, or to the directory, could have this process run what they like. */
static const char *check_owner(int fd, mode_t type)
{
	struct stat st;

	if (SYS2(SYS_fstat, fd, &st) < 0)
		return "it cannot be looked at";
	if ((st.st_mode & S_IFMT) != type)
		return type == S_IFDIR ? "it is no directory" : "it is no regular file";
	if (st.st_uid != 0 && st.st_uid != (uid_t)SYS0(SYS_geteuid))
		return "it belongs to somebody else";
	if (st.st_mode & (S_IRWXG | S_IRWXO))
		return "others have access to it";
	return NULL;
}

/* The directory of a path, in `buf`, and the name in it; NULL where there is none. */
static const char *split(const char *path, struct text *directory)
{
	size_t slash = text_length(path);

	while (slash && path[slash - 1] != '/')
		slash--;
	if (slash < 2 || !path[slash])
		return NULL;
	text_add_span(directory, (struct span){ path, slash - 1 });
	return path + slash;
}

static long open_place(const char *path, struct err *err)
{
	char buf[PATH_MAX];
	struct text directory = TEXT_IN(buf);
	const char *name = split(path, &directory);
	OWNED_FD place = -1;
	const char *wrong;
	long fd;

	if (!name || directory.cut)
		return refuse(err, path, "it is no path of a file in a directory");
	text_end(&directory);
	place = (int)sys_open(buf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (place < 0)
		return err_set(err, "open", buf, place);
	wrong = check_owner(place, S_IFDIR);
	if (wrong)
		return refuse(err, buf, wrong);
	fd = SYS4(SYS_openat, place, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	return fd < 0 ? err_set(err, "open", path, fd) : fd;
}

/* Map the whole file: the tables are read from it now, and the large ranges later. */
static int read_header(const char *path, int fd, struct image *image, struct err *err)
{
	struct image_header header;
	const char *wrong = check_owner(fd, S_IFREG);
	struct stat st = { 0 };
	long ret;

	if (wrong)
		return refuse(err, path, wrong);
	SYS2(SYS_fstat, fd, &st);
	ret = SYS4(SYS_pread64, fd, &header, sizeof(header), 0);
	if (ret != (long)sizeof(header) || header.header_size < sizeof(header) ||
	    header.header_size > IMAGE_HEADER_MAX || header.header_size > (uint64_t)st.st_size)
		return refuse(err, path, "it is no image");
	ret = SYS6(SYS_mmap, FILE_HINT, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (sys_is_error(ret))
		return err_set(err, "mmap", path, ret);
	wrong = image_parse((const uint8_t *)ret, header.header_size, (uint64_t)st.st_size, image);
	image->fd = fd;
	return wrong ? refuse(err, path, wrong) : 0;
}

/* ---- what it depends on */

static bool is_same(const void *one, const void *other, size_t size)
{
	const uint8_t *a = one, *b = other;

	while (size && *a++ == *b++)
		size--;
	return size == 0;
}

static int check_host(const char *path, const struct image *image,
		      const struct image_process *process, struct err *err)
{
	const struct image_host *then = &image->header->host;
	struct image_host now;

	if (!image_host_is(process->auxv, &now))
		return refuse(err, path, "it cannot be found out which boot this is");
	if (!is_same(then->boot_id, now.boot_id, sizeof(now.boot_id)))
		return refuse(err, path, "it is of another boot");
	if (!is_same(then, &now, sizeof(now)))
		return refuse(err, path, "it is of another kernel or processor");
	return 0;
}

static bool is_same_file(const struct image_file *then, const struct stat *now)
{
	return then->device == now->st_dev && then->inode == now->st_ino &&
	       then->size == (uint64_t)now->st_size && then->changed_s == now->st_ctim.tv_sec &&
	       then->changed_ns == (uint64_t)now->st_ctim.tv_nsec &&
	       then->modified_s == now->st_mtim.tv_sec &&
	       then->modified_ns == (uint64_t)now->st_mtim.tv_nsec;
}

/* Returns the descriptor of one that is mapped, 0 for any other. */
static long open_file(const struct image *image, const struct image_file *file, struct err *err)
{
	const char *path = image_path(image, file);
	struct stat st = { 0 };
	OWNED_FD fd = -1;
	long ret;

	if (file->is_mapped) {
		fd = (int)sys_open(path, O_RDONLY | O_NONBLOCK);
		ret = fd < 0 ? fd : SYS2(SYS_fstat, fd, &st);
	} else {
		ret = SYS4(SYS_newfstatat, AT_FDCWD, path, &st, 0);
	}
	if (ret < 0)
		return err_set(err, "find what the image was made of:", path, ret);
	if (!is_same_file(file, &st) || !S_ISREG(st.st_mode))
		return refuse(err, path, "it has changed since the image was made");
	return file->is_mapped ? descriptor_give(&fd) : 0;
}

/* ---- memory */

/* Words are written to later, whatever the region's own protection is. */
static bool has_words(const struct image *image, const struct image_region *region, uint32_t *word)
{
	uint32_t count = image->header->words.count;

	while (*word < count && image->words[*word].at < region->start)
		(*word)++;
	return *word < count && image->words[*word].at < region->end;
}

/* The large ranges are mapped as a whole: a large page does not end where a region does. */
static int map_large(const struct image *image, struct err *err)
{
	for (uint32_t i = 0; i < image->header->large.count; i++) {
		const struct image_range *range = &image->large[i];
		const uint64_t size = range->end - range->start;
		const long ret = SYS6(SYS_mmap, range->start, size, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

		if (sys_is_error(ret))
			return err_set(err, "map the image's", "large pages", ret);
		if ((uint64_t)ret != range->start)
			return err_set(err, "map the image's", "large pages", EEXIST);
		/* Without large pages it takes longer, and works as well. */
		SYS3(SYS_madvise, range->start, size, MADV_HUGEPAGE);
	}
	return 0;
}

static int map_region(const struct image *image, const struct image_region *region, int fd,
		      bool is_written, struct err *err)
{
	static const char *const words[] = { "code", "saved memory", "memory", "droppable memory" };
	uint64_t size = region->end - region->start;
	int prot = is_written ? PROT_READ | PROT_WRITE : region->prot;
	int flags = MAP_FIXED_NOREPLACE;
	long ret;

	if (region->flags & REGION_LARGE) /* fill_large() */
		return 0;
	if (region->kind == REGION_FILE || region->kind == REGION_SAVED)
		flags |= MAP_PRIVATE;
	else
		flags |= MAP_ANONYMOUS |
			 (region->kind == REGION_DROPPABLE ? MAP_DROPPABLE : MAP_PRIVATE);
	if (region->kind == REGION_SAVED)
		fd = image->fd;
	ret = SYS6(SYS_mmap, region->start, size, prot, flags, flags & MAP_ANONYMOUS ? -1 : fd,
		   flags & MAP_ANONYMOUS ? 0 : region->offset);
	if (sys_is_error(ret))
		return err_set(err, "map the image's", words[region->kind - REGION_FILE], ret);
	/* Before Linux 4.17 the flag is unknown, and the address a wish. */
	if ((uint64_t)ret != region->start)
		return err_set(err, "map the image's", words[region->kind - REGION_FILE], EEXIST);
	if (region->flags & REGION_WIPE_ON_FORK) {
		ret = SYS3(SYS_madvise, region->start, size, MADV_WIPEONFORK);
		if (ret < 0)
			return err_set(err, "madvise", "MADV_WIPEONFORK", ret);
	}
	return 0;
}

static int map_regions(const struct image *image, const int *fds, struct err *err)
{
	uint32_t word = 0;

	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		const struct image_region *region = &image->regions[i];
		bool is_written = has_words(image, region, &word);
		int fd = region->kind == REGION_FILE ? fds[region->file] : -1;

		if (map_region(image, region, fd, is_written, err) < 0)
			return -1;
	}
	return 0;
}

static int map_files(const struct image *image, struct err *err)
{
	static int fds[IMAGE_FILES_MAX];
	uint32_t count = image->header->files.count;
	uint32_t opened = 0;
	int ret = 0;

	if (count > IMAGE_FILES_MAX)
		return refuse(err, "the image", "it was made of too many files");
	for (; opened < count && ret == 0; opened++) {
		long fd = open_file(image, &image->files[opened], err);

		fds[opened] = (int)fd;
		ret = fd < 0 ? -1 : 0;
	}
	if (ret == 0)
		ret = map_large(image, err);
	if (ret == 0)
		ret = map_regions(image, fds, err);
	for (uint32_t i = 0; i < opened; i++)
		if (fds[i] > 0)
			sys_close(fds[i]);
	return ret;
}

int restore_map(const char *path, const struct image_process *process, struct image *image,
		struct err *err)
{
	OWNED_FD fd = -1;
	int ret;

	/* Elsewhere the thread pointer is set in other ways. */
	if (!NSX_RESTORES)
		return refuse(err, path, "images are made on x86_64 alone");
	fd = (int)open_place(path, err);
	if (fd < 0)
		return -1;
	ret = read_header(path, fd, image, err);
	if (ret == 0)
		ret = check_host(path, image, process, err);
	if (ret == 0)
		ret = map_files(image, err);
	image->fd = -1;
	return ret;
}

/* ---- becoming it */

static uint64_t value_of(const struct image_word *word, const struct image_process *process)
{
	switch ((enum word_kind)word->kind) {
	case WORD_ARGV:
		return (uintptr_t)process->argv;
	case WORD_ENVP:
		return (uintptr_t)process->envp;
	case WORD_AUXV:
		return (uintptr_t)process->auxv;
	case WORD_ARG0:
		return (uintptr_t)process->argv[0];
	case WORD_PLATFORM:
		return image_auxiliary(process->auxv, AT_PLATFORM);
	case WORD_RANDOM:
		return image_auxiliary(process->auxv, AT_RANDOM);
	case WORD_STACK_END:
		return (uintptr_t)(process->argv - 1);
	case WORD_VDSO:
		return image_auxiliary(process->auxv, AT_SYSINFO_EHDR) + word->offset;
	case WORD_NOTHING:
		break;
	}
	return 0;
}

static void write_words(const struct image *image, const struct image_process *process)
{
	for (uint32_t i = 0; i < image->header->words.count; i++)
		*(uint64_t *)image->words[i].at = value_of(&image->words[i], process);
}

static void protect_again(const struct image *image)
{
	uint32_t word = 0;

	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		const struct image_region *region = &image->regions[i];

		if (!(region->prot & PROT_WRITE) && has_words(image, region, &word) &&
		    SYS3(SYS_mprotect, region->start, region->end - region->start, region->prot) <
			    0)
			sys_exit(1);
	}
}

static void copy(uint64_t to, const uint8_t *from, uint64_t size)
{
#if defined(__x86_64__)
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
#else
	while (size--)
		*(uint8_t *)to++ = *from++;
#endif
}

/*
 * Read what the large ranges hold. It is copied from the mapping of the whole file, and not read
 * before the stages: a large page that two processes have is copied in small pages when one of
 * them writes to it. Read from a descriptor, it would need one in stage 2, and a container could
 * open that file again by /proc/PID/fd for writing.
 */
static void fill_large(const struct image *image)
{
	for (uint32_t i = 0; i < image->header->regions.count; i++) {
		const struct image_region *region = &image->regions[i];
		const uint64_t size = region->end - region->start;

		if (!(region->flags & REGION_LARGE) || region->kind != REGION_SAVED)
			continue;
		SYS3(SYS_madvise, image->data + region->offset, size, MADV_POPULATE_READ);
		copy(region->start, image->data + region->offset, size);
	}
}

static void populate(const struct image *image)
{
	for (uint32_t i = 0; i < image->header->hot.count; i++) {
		const struct image_range *range = &image->hot[i];

		SYS3(SYS_madvise, range->start, range->end - range->start, MADV_POPULATE_WRITE);
	}
}

/* Clear the area and register it. In the image glibc has registered it already, so nobody else does
 * it in this process. */
static void register_rseq(const struct image_header *header)
{
	volatile uint32_t *area = (volatile uint32_t *)header->rseq;

	if (!header->rseq_size)
		return;
	for (uint64_t i = 0; i < header->rseq_size / sizeof(*area); i++)
		area[i] = 0;
	area[RSEQ_CPU_ID / sizeof(*area)] = (uint32_t)RSEQ_UNREGISTERED;
	if (SYS4(SYS_rseq, header->rseq, header->rseq_size, 0, RSEQ_SIGNATURE) < 0)
		area[RSEQ_CPU_ID / sizeof(*area)] = (uint32_t)RSEQ_FAILED;
}

/* Tell the kernel what it must know of the thread, and libc the id of the thread. */
static void become_thread(const struct image_header *header, const struct image_process *process)
{
	const uint64_t *random = (const uint64_t *)image_auxiliary(process->auxv, AT_RANDOM);

	*(uint64_t *)(header->fs_base + IMAGE_CANARY) = random[0] & CANARY_MASK;
#if defined(__x86_64__)
	if (SYS2(SYS_arch_prctl, ARCH_SET_FS, header->fs_base) < 0)
		sys_exit(1);
#endif
	*(uint32_t *)header->tid_address = (uint32_t)SYS1(SYS_set_tid_address, header->tid_address);
	SYS2(SYS_set_robust_list, header->robust_list, header->robust_size);
	register_rseq(header);
}

static void set_signals(const struct image *image, const struct image_handover *handover)
{
	for (uint32_t i = 0; i < image->header->signals.count; i++)
		if (image->signals[i].number != SIGINT || !handover->ignores_interrupt)
			sys_sigaction((int)image->signals[i].number, &image->signals[i].action,
				      NULL);
}

_Noreturn void restore_enter(const struct image *image, const struct image_handover *handover)
{
	image_resume *resume = (image_resume *)image->header->resume;

	fill_large(image);
	populate(image);
	write_words(image, handover->process);
	protect_again(image);
	become_thread(image->header, handover->process);
	set_signals(image, handover);
	SYS2(SYS_munmap, image->data, image->header->file_size);
	resume(handover);
	sys_exit(1);
}
