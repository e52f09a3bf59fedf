/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/resume.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/libc.h"
#include "interpreter/audit_steps.h"
#include "interpreter/cpython.h"
#include "interpreter/module_archive.h"
#include "interpreter/refusal.h"
#include "interpreter/stack_limits.h"

/* A function whose variables would otherwise live across the setjmp(3) in pthread_cleanup_push(3)
 * of run_guarded(), where they may lose their values. */
#define APART_FROM_SETJMP __attribute__((noinline))

#define NO_BREAK ((void *)-4096L)

extern char **environ;

static void **current_break;

void resume_prepare(void)
{
	current_break = dlsym(RTLD_DEFAULT, "__curbrk");
	if (!current_break)
		refuse_image("this program's libc is no glibc that is known: it lacks", "__curbrk");
}

/* ---- the end */

/* Called when the main thread has called pthread_exit(3): as libc does for main, the process goes
 * on as long as there is another thread. */
static void end_thread(void *unused)
{
	(void)unused;
	if (libc_count_threads() == 1)
		exit(0);
	for (;;)
		SYS1(SYS_exit, 0);
}

/* Call end_image() of nsenter/_inside/boot.py, where Py_RunMain() calls Py_FinalizeEx(). */
static void end_interpreter(void)
{
	if (!python.call(python.boot_module, "end_image", NULL))
		python.print_error();
}

/* As Py_RunMain(), end by SIGINT after a KeyboardInterrupt, so that the caller knows what it
 * was. */
_Noreturn static void end_by_exception(void)
{
	const bool is_interrupt = python.error_matches(*python.interrupt);

	python.print_error();
	end_interpreter();
	if (!is_interrupt)
		exit(1);
	signal(SIGINT, SIG_DFL);
	kill(getpid(), SIGINT);
	exit(128 + SIGINT); /* SIGINT is blocked */
}

/* ---- what it runs */

/* Returns the strings as a Python list of bytes, or NULL. */
static void *list_of(char *const *strings)
{
	void *list = python.new_list(0);

	for (; list && *strings; strings++) {
		void *string = python.new_bytes(*strings);

		if (!string || python.append(list, string) != 0)
			return NULL;
	}
	return list;
}

/* Call the command with its arguments and environment: it has no launcher. */
static void *run_command(const struct image_handover *handover)
{
	void *words, *environment;

	environ = handover->process->envp;
	stack_limits_learn(handover->process);
	python.after_fork();
	words = list_of(handover->process->argv);
	environment = words ? list_of(handover->process->envp) : NULL;
	if (!environment)
		return NULL;
	return python.call(python.boot_module, "resume_image", "OOi", words, environment,
			   (int)handover->ignores_interrupt);
}

/* Confine the process when the interpreter is about to call the payload. */
static int confine_later(const struct image_handover *handover, struct err *err)
{
	static struct audit_step steps[] = { { "nsenter.confine", NULL },
					     { "nsenter.filter", NULL } };

	if (!handover->confine)
		return 0;
	steps[0].carry_out = handover->confine;
	steps[1].carry_out = handover->filter;
	return audit_steps_install(steps, sizeof(steps) / sizeof(steps[0]), err);
}

APART_FROM_SETJMP static void *run_init(const struct image_handover *handover)
{
	static char *no_environment[1];
	const bool loads_extensions = handover->stages != NULL;
	struct err err;

	/* The libraries that are loaded now may read variables. Nothing else may: the environment
	 * is the payload's. */
	environ = loads_extensions ? handover->process->envp : no_environment;
	if (handover->archive && archive_install_mapped(handover->archive, handover->archive_size,
							loads_extensions, &err) < 0)
		handover->fail(&err);
	environ = no_environment;
	if (handover->stages)
		handover->stages();
	stack_limits_learn(handover->process);
	python.after_fork();
	if (confine_later(handover, &err) < 0)
		handover->fail(&err);
	return python.call(python.boot_module, "resume_image", "ii", handover->channel_fd,
			   handover->status_fd);
}

APART_FROM_SETJMP static void run(const struct image_handover *handover)
{
	void *status = handover->is_command ? run_command(handover) : run_init(handover);

	if (!status)
		end_by_exception();
	end_interpreter();
	exit((int)python.as_long(status));
}

/* libc's own main() is called by code that handles a pthread_exit(3) of the main thread. No such
 * code calls resume_image(), so end_thread() takes its place. */
APART_FROM_SETJMP static void run_guarded(const struct image_handover *handover)
{
	pthread_cleanup_push(end_thread, NULL);
	run(handover);
	pthread_cleanup_pop(0);
}

void resume_image(const struct image_handover *handover)
{
	/*
	 * brk(2) must not be used any more: glibc's break is where the heap of the first process
	 * was, and the kernel's is that of this process. If the heap lies below the kernel's break,
	 * the kernel returns its own, larger one for every wish; glibc takes that for success, and
	 * writes to memory that is not there. With a break that brk(2) cannot reach, sbrk(3) fails
	 * without a system call, and malloc(3) uses mmap(2) instead, as it is documented to. To
	 * move the kernel's break (prctl(2), PR_SET_MM) was considered, and requires
	 * CAP_SYS_RESOURCE.
	 */
	*current_break = NO_BREAK;
	stack_limits_set_thread_size();
	run_guarded(handover);
}
