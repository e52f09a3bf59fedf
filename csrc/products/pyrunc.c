/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime. It is faster and safer than a script:
 *
 *  - If there is a valid memory image, it becomes the interpreter of that
 *    (csrc/interpreter/command_image.c). Otherwise it executes one, as follows.
 *  - If the command starts a process of a container, it starts the interpreter of the init as well,
 *    which boots while the runtime finds out what the init is to do
 *    (nsenter/_interpreter/prebooted.py).
 *  - The interpreters start without site, which takes longer than the rest of a container's start.
 *  - It executes them by a read-only mount that nobody else has, or by a sealed copy: a container
 *    that opens its init by /proc/self/exe cannot write to the host's file (CVE-2019-5736).
 *
 * The program is static and without libc, as nsinit is, and the same file in every environment. The
 * file START beside it says which Python and which package it belongs to: the installer writes its
 * first line, "#!PYTHON" (libcontainer/pyrunc/find.py). Neither the current directory nor the
 * environment can change that. A copy of this program uses the START that was recorded when it was
 * built.
 */
#include <sys/stat.h>

#include "base/signals.h"
#include "base/sys.h"
#include "interpreter/command_image.h"
#include "products/early_init.h"
#include "products/executable.h"
#include "products/installation.h"
#include "products/pyrunc_errors.h"

#define NO_IMAGE "_PYRUNC_NO_IMAGE" /* why there is no image, for libcontainer/pyrunc/start.py */

/* ---- the streams ------------------------------------------------------------------------- */

static bool is_directory(int fd)
{
	struct stat st;

	return SYS2(SYS_fstat, fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Give each stream that the caller has closed /dev/null. A descriptor that is opened later would
 * otherwise become a stream, and what the container reads and writes would depend on the caller.
 * The programs of Go, runc among them, do the same.
 *
 * A stream that is a directory is closed first: Python does not start with one, and a container
 * that has one of the host's could leave its root by it.
 */
static void prepare_streams(void)
{
	int fd;

	for (fd = 0; fd < FIRST_AFTER_STREAMS; fd++)
		if (is_directory(fd))
			sys_close(fd);
	while ((fd = sys_open("/dev/null", O_RDWR)) >= 0 && fd < FIRST_AFTER_STREAMS)
		sys_inherit(fd);
	if (fd >= 0)
		sys_close(fd);
}

static uint64_t ignored_signals(void)
{
	uint64_t set = NO_SIGNALS;

	for (int sig = 1; sig <= SIGNAL_MAX; sig++)
		if (sys_is_ignored(sig))
			set |= ONLY_SIGNAL(sig);
	return set;
}

/*
 * If the caller ignores SIGCHLD, the kernel collects our children, and nobody learns their status.
 * If the caller blocks signals, none of them is passed on to the container.
 *
 * If a process of a container is started, the signals that the caller ignores are blocked, so that
 * the kernel does not drop those that come before libcontainer/pyrunc/signals.py passes them on.
 */
static void reset_signals(bool starts_process)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	sys_sigaction(SIGCHLD, &by_default, NULL);
	signals_block(starts_process ? ignored_signals() : NO_SIGNALS);
}

/* ---- the start --------------------------------------------------------------------------- */

/* Returns whether the command starts a process of a container. */
static bool starts_a_process(char *const *words)
{
	static const char *const commands[] = { "run", "create", "exec" };

	for (; *words; words++) {
		const struct span word = span_of(*words);

		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (span_equals(word, commands[i]))
				return true;
	}
	return false;
}

static _Noreturn void fail_to_execute(const struct installation *found, long result)
{
	char buf[4 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: cannot execute the Python that ");
	text_add(&t, found->start);
	text_add(&t, " names:");
	pyrunc_add_tried(&t, found->interpreter, result);
	text_add(&t, "; install pynsenter again with the Python that it is to use");
	pyrunc_fail_with(&t);
}

/* Copy the environment without the variables that only this program may set, and with room for
 * them. */
static char **copy_environment(char *const *envp, char ***room)
{
	size_t count = 0;
	char **copy;
	long memory;

	while (envp[count])
		count++;
	memory = sys_map_memory((count + 3) * sizeof(*copy));
	if (sys_is_error(memory))
		pyrunc_fail("no memory for", "the environment");
	copy = (char **)memory;
	for (count = 0; *envp; envp++)
		if (!text_begins(*envp, INIT_VARIABLE "=") && !text_begins(*envp, NO_IMAGE "="))
			copy[count++] = *envp;
	*room = &copy[count];
	return copy;
}

int nsinit_main(int argc, char **argv, char **envp);

/* Become the interpreter by an execve(2). `room` is where variables are added to the
 * environment. */
static _Noreturn void become_interpreter(const struct installation *found, char *const *words,
					 char **envp, char **room)
{
	const bool starts_process = starts_a_process(words);
	const int executable = executable_open(found->interpreter);
	char place[64];
	long result;

	if (executable == UNPROTECTED && starts_process)
		pyrunc_fail(
			"no container is started, as it could change its Python: neither a read-only "
			"mount (open_tree, mount_setattr) nor a sealed copy (memfd_create) can be "
			"made of",
			found->interpreter);
	if (starts_process && early_init_start(found, executable, envp, place, sizeof(place)))
		*room = place;
	result = executable_run(found->interpreter, executable, interpreter_argv(found, words),
				envp);
	fail_to_execute(found, result);
}

int nsinit_main(int argc, char **argv, char **envp)
{
	static struct image_process process; /* the process of the image refers to it */
	static struct installation found;
	const uint64_t *auxv = image_find_auxv(envp);
	char reason[ERR_SUBJECT_MAX + 128];
	struct text why = TEXT_IN(reason);
	char **room;

	prepare_streams();
	reset_signals(starts_a_process(argv + 1));
	if (argc > MAX_WORDS)
		pyrunc_fail("too many", "arguments");
	installation_find(&found);
	envp = copy_environment(envp, &room);
	process = (struct image_process){ argc, argv, envp, auxv };
	text_add(&why, NO_IMAGE "=");
	command_image_resume(found.start, &process, &why);
	*room++ = (char *)(uintptr_t)text_end(&why);
	become_interpreter(&found, argv + 1, envp, room);
}
