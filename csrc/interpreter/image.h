/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memory image of an interpreter that has booted: interpreter/dump.c makes it,
 * interpreter/image.c reads and checks it, interpreter/restore.c maps it into a process that is as
 * empty as nsinit. In native byte order:
 *
 *   header    what the image depends on, and where the tables are
 *   tables    regions, files, words, signals, large ranges, hot ranges; strings
 *   pages     from the next page boundary on: the contents of the regions
 *
 * It contains neither a stack nor registers: an image is taken at the top level of C, and
 * is resumed by a call of a function in it, on the stack that the kernel has just made.
 */
#ifndef NSX_IMAGE_H
#define NSX_IMAGE_H

#include "base/err.h"
#include "base/sys.h"

#define IMAGE_MAGIC	 "nsximg1"
#define IMAGE_PAGE	 4096U
#define IMAGE_LARGE_PAGE (2UL << 20)
#define IMAGE_HEADER_MAX (4U << 20)
#define IMAGE_BUILD_ID	 32
#define IMAGE_BOOT_ID	 40 /* /proc/sys/kernel/random/boot_id, without its newline */
#define IMAGE_FILES_MAX	 1024
#define IMAGE_RSEQ_SIZE	 32   /* of the kernel's first struct rseq, which every glibc registers */
#define IMAGE_CANARY	 0x28 /* from the thread pointer on: tcbhead_t.stack_guard */

enum region_kind {
	REGION_FILE = 1, /* is mapped from a library: its code and constants */
	REGION_SAVED,	 /* is mapped from the image itself */
	REGION_ZERO,	 /* anonymous memory */
	REGION_DROPPABLE /* anonymous memory that the kernel may drop: MAP_DROPPABLE */
};

/* Flags. */
#define REGION_WIPE_ON_FORK 1U
#define REGION_LARGE	    2U /* it is in one of the large ranges */

struct image_region {
	uint64_t start;
	uint64_t end;
	uint64_t offset; /* in the file, or in the image */
	uint32_t file;	 /* of REGION_FILE */
	uint16_t kind;
	uint16_t prot;
	uint32_t flags;
	uint32_t reserved;
};

/* A file that the image was made of. The image is valid as long as each of them is the same
 * file. */
struct image_file {
	uint64_t device;
	uint64_t inode;
	uint64_t size;
	int64_t changed_s; /* ctime: a change of the content changes it, whatever mtime is set to */
	int64_t modified_s;
	uint32_t changed_ns;
	uint32_t modified_ns;
	uint32_t path; /* offset of a string in the header */
	uint32_t is_mapped;
};

/* What a word must point to that points into memory which every process has of its own. */
enum word_kind {
	WORD_NOTHING = 1, /* nothing: the word becomes zero, because nobody reads it any more */
	WORD_ARGV,
	WORD_ENVP,
	WORD_AUXV,
	WORD_ARG0,
	WORD_PLATFORM,
	WORD_RANDOM,
	WORD_STACK_END,
	WORD_VDSO, /* plus `offset` */
	WORD_LAST = WORD_VDSO
};

struct image_word {
	uint64_t at;
	uint32_t kind;
	uint32_t offset;
};

struct image_signal {
	uint64_t number;
	struct sys_sigaction action;
};

struct image_range {
	uint64_t start;
	uint64_t end;
};

struct image_table {
	uint32_t offset; /* in the header */
	uint32_t count;
};

/* The kernel, the processor and the boot. On another, the image cannot be used. */
struct image_host {
	char boot_id[IMAGE_BOOT_ID];
	uint8_t vdso_id[IMAGE_BUILD_ID];
	uint64_t hwcap;
	uint64_t hwcap2;
	uint64_t minsigstksz;
	uint64_t page_size;
};

struct image_header {
	char magic[8];
	uint64_t format; /* IMAGE_FORMAT */
	uint64_t file_size;
	uint64_t header_size; /* with the tables and strings, up to the pages */
	struct image_host host;
	uint64_t fs_base;
	uint64_t tid_address;
	uint64_t robust_list;
	uint64_t robust_size;
	uint64_t rseq;
	uint64_t rseq_size; /* 0: there is none */
	uint64_t resume;
	struct image_table regions;
	struct image_table files;
	struct image_table words;
	struct image_table signals;
	struct image_table hot;	  /* pages that every start writes to */
	struct image_table large; /* ranges of whole large pages: see interpreter/large_pages.h */
};

/* What a process that resumes an image has of its own. */
struct image_process {
	int argc;
	char **argv;
	char **envp;
	const uint64_t *auxv; /* pairs; ends at AT_NULL */
};

/* What the loader hands to the function that resumes the image, which does not return. */
struct image_handover {
	const struct image_process *process;
	/* See interpreter/module_archive.h; NULL if the image has every module. */
	const void *archive;
	size_t archive_size;
	int channel_fd;
	int status_fd;
	/* The image is that of a command, which has no launcher: it reads argv and the
	 * environment. */
	bool is_command;
	bool ignores_interrupt; /* the interpreter of a command must not catch SIGINT */
	/* Goes through the stages, and returns in the namespaces. It is called after the extensions
	 * of the module archive have been loaded that the image does not have, for which the host's
	 * files are needed. NULL: the stages were before, and no extension is loaded. */
	void (*stages)(void);
	/* Give up rights for good. Each is called once, in this order; NULL: there is nothing to
	 * do. */
	void (*confine)(void);
	void (*filter)(void);
	/* Reports an error and ends the process. */
	void (*fail)(const struct err *err);
};
typedef void image_resume(const struct image_handover *handover);

/* It differs if a structure in the file, or the handover, has another size. IMAGE_VERSION must be
 * raised for every other change. */
#define IMAGE_VERSION 3ULL
#define IMAGE_FORMAT                                                                               \
	(IMAGE_VERSION << 48 ^ (uint64_t)sizeof(struct image_handover) << 40 ^                     \
	 (uint64_t)sizeof(struct image_header) << 32 ^                                             \
	 (uint64_t)sizeof(struct image_region) << 24 ^ (uint64_t)sizeof(struct image_file) << 16 ^ \
	 (uint64_t)sizeof(struct image_word) << 8 ^ (uint64_t)sizeof(struct image_signal))

struct image {
	int fd;		     /* -1 if it is only being read */
	const uint8_t *data; /* the file's beginning, or in restore.c all of it */
	const struct image_header *header;
	const struct image_region *regions;
	const struct image_file *files;
	const struct image_word *words;
	const struct image_signal *signals;
	const struct image_range *hot;
	const struct image_range *large;
};

/* Returns the auxiliary vector, which the kernel has put behind the environment. */
const uint64_t *image_find_auxv(char *const *envp);

/* Returns the value of an entry of the auxiliary vector, or 0. */
uint64_t image_auxiliary(const uint64_t *auxv, uint64_t type);

/* Fill in what this host is. Returns false if something of it cannot be found out. */
bool image_host_is(const uint64_t *auxv, struct image_host *host);

/*
 * Check the tables of an image: every offset, length and address in it. `data` has the first `size`
 * bytes, at least the header, of a file of `file_size` bytes. Returns NULL, or what is wrong.
 */
const char *image_parse(const uint8_t *data, uint64_t size, uint64_t file_size,
			struct image *image);

const char *image_path(const struct image *image, const struct image_file *file);

#endif
