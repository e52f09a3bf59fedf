/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter that an image is made of. Its functions are found by their names, so that one
 * library serves every version of CPython, and is compiled without the headers of any.
 */
#ifndef NSX_CPYTHON_H
#define NSX_CPYTHON_H

#include <sys/types.h>

#include "interpreter/image.h"

/* CPython's PyStatus. */
struct cpython_status {
	int type;
	const char *function;
	const char *message;
	int exitcode;
};

/* CPython's PyObjectArenaAllocator. */
struct cpython_arenas {
	void *context;
	void *(*allocate)(void *context, size_t size);
	void (*release)(void *context, void *memory, size_t size);
};

struct cpython {
	void (*set_arenas)(const struct cpython_arenas *allocator);
	void (*init_config)(void *config);
	struct cpython_status (*set_argv)(void *config, ssize_t argc, char *const *argv);
	struct cpython_status (*boot)(const void *config);
	void (*clear_config)(void *config);
	void *(*import)(const char *name);
	void *(*call)(void *object, const char *method, const char *format, ...);
	void (*print_error)(void);
	int (*error_matches)(void *kind);
	void *(*new_list)(ssize_t size);
	int (*append)(void *list, void *object);
	void *(*new_bytes)(const char *text);
	void (*before_fork)(void);
	void (*after_fork)(void);
	long (*as_long)(void *number);
	void **interrupt; /* KeyboardInterrupt */
	/* The module that prepares the image, resumes it, and ends its process. */
	void *boot_module;
};

extern struct cpython python;

/* Find the functions. If one is missing, no image is made. */
void cpython_find(void);

/* Boot the interpreter, import the boot module, and have it import what the image is to hold, as
 * it reads from `contents_fd`. */
void cpython_boot(const struct image_process *process, const char *boot_module, int contents_fd);

#endif
