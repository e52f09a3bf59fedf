/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a memory image of an interpreter. This library is preloaded into a Python that is about to
 * start, and takes the place of its main function: the interpreter boots from the module archive,
 * imports the given modules, and the memory of the process is written to a file. A later process
 * maps that memory again and calls resume_image(), which is part of this library and therefore of
 * the image.
 *
 * Libraries are mapped from their own files again, so that only their data are saved. No stack is
 * saved: the image is taken at the top level of C, where nothing on the stack is needed any more,
 * and it is resumed by a call, on the stack of the new process. A word in saved memory that points
 * into the stack or the vDSO must be of a known kind. If one is not, no image is made.
 *
 * Without its own variable in the environment, the library does nothing.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/libc.h"
#include "base/signals.h"
#include "interpreter/cpython.h"
#include "interpreter/dump_files.h"
#include "interpreter/dump_process.h"
#include "interpreter/dump_regions.h"
#include "interpreter/dump_words.h"
#include "interpreter/dump_write.h"
#include "interpreter/large_pages.h"
#include "interpreter/module_archive.h"
#include "interpreter/refusal.h"
#include "interpreter/resume.h"
#include "interpreter/stack_limits.h"

/* "ARCHIVE,CONTENTS,FILES,OUT,MODULE": descriptors, and the name of the boot module. */
#define VARIABLE "_NSENTER_DUMP"

static struct {
	int archive_fd;	 /* the module archive */
	int contents_fd; /* what the boot module is to import */
	int files_fd;	 /* the list for dump_add_listed_files() */
	int out_fd;	 /* where the image is written to */
	char boot_module[64];
} request;

static struct image_process process;

static bool read_request(const char *value)
{
	return sscanf(value, "%d,%d,%d,%d,%63s", &request.archive_fd, &request.contents_fd,
		      &request.files_fd, &request.out_fd, request.boot_module) == 5;
}

/*
 * Write the image, and exit. From the first line on, no Python may run, and nothing may change the
 * memory that is saved.
 *
 * PyOS_BeforeFork() has the interpreter hold its locks, as before a fork(2), and resume_image()
 * calls PyOS_AfterFork_Child(): what has to be renewed in a new process is the same. CPython 3.13
 * and later abort without the first of the two calls.
 */
_Noreturn static void dump(void)
{
	struct dump_tables *t;

	dump_check_threads();
	python.before_fork();
	stack_limits_forget();
	clearenv(); /* no variable of the caller's may get into an image: it may be a secret */
	t = dump_tables_make(&process);
	t->header.large.count = large_pages_end(t->large);
	if (!image_host_is(process.auxv, &t->header.host))
		refuse_image("it cannot be found out which boot this is", "");
	t->header.resume = (uintptr_t)resume_image;
	dump_describe_thread(&t->header);
	dump_describe_signals(t);
	dump_add_listed_files(t, request.files_fd);
	sys_close(request.files_fd);
	dump_check_descriptors(request.out_fd);
	dump_add_regions(t);
	dump_add_words(t);
	dump_write(t, request.out_fd);
	_exit(0);
}

static int dump_main(int argc, char **argv, char **envp)
{
	struct err err;

	process = (struct image_process){ argc, argv, envp, image_find_auxv(envp) };
	/* The caller may ignore or block signals: a background job of a shell ignores SIGINT. */
	signals_reset(NO_SIGNALS);
	signals_block(NO_SIGNALS);
	cpython_find();
	large_pages_prepare();
	stack_limits_find();
	resume_prepare();
	if (archive_install(request.archive_fd, &err) < 0) {
		dprintf(STDERR_FILENO, "%s %s: %s\n", err.operation, err.subject,
			strerror(err.errnum));
		_exit(1);
	}
	libc_settle();
	cpython_boot(&process, request.boot_module, request.contents_fd);
	dump();
}

typedef int main_function(int argc, char **argv, char **envp);
typedef int start_function(main_function *main, int argc, char **argv, void (*init)(void),
			   void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

__attribute__((visibility("default"))) int
__libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		  void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

/*
 * The interpreter's program calls this function of libc, with its main function. The linker finds
 * this one before libc's. It works for an interpreter that is linked with libpython as well as for
 * one that contains it. A constructor, as products/shim.c has one, was considered: it runs before
 * the program is ready, and cannot keep the main function from being called without ending the
 * process.
 */
int __libc_start_main(main_function *main, int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	const char *value = getenv(VARIABLE);
	start_function *start;

	*(void **)&start = dlsym(RTLD_NEXT, "__libc_start_main");
	if (value && read_request(value))
		main = dump_main;
	return start(main, argc, argv, init, fini, rtld_fini, stack_end);
}
