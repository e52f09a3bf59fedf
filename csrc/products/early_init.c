/* SPDX-License-Identifier: Apache-2.0 */
#include "products/early_init.h"

#include "base/sys.h"
#include "base/text.h"
#include "products/executable.h"

#define FLAG_COUNT 6
#define LIBRARIES  "LD_LIBRARY_PATH="

char **interpreter_argv(const struct installation *found, char *const *words)
{
	static char *argv[MAX_WORDS + FLAG_COUNT + 1];
	const char *const flags[FLAG_COUNT] = {
		found->interpreter, "-I", "-S", "-X", "frozen_modules=on", found->start,
	};
	int count = 0;

	for (; count < FLAG_COUNT; count++)
		argv[count] = (char *)(uintptr_t)flags[count];
	for (; *words; words++)
		argv[count++] = *words;
	argv[count] = NULL;
	return argv;
}

/* Write a variable such as "NAME=1,2,3". */
static char *variable(char *buf, size_t size, const char *name, const long *numbers, int count)
{
	struct text t = { .data = buf, .cap = size };

	text_add(&t, name);
	for (int i = 0; i < count; i++) {
		text_add(&t, i ? "," : "=");
		text_add_number(&t, numbers[i]);
	}
	return (char *)(uintptr_t)text_end(&t);
}

/* Have the kernel kill this process when its parent ends. The end of the channel would not do: an
 * interpreter that hangs while it boots does not read it. csrc/stages/prebooted.c clears this when
 * the init config has come. */
static void end_with(long parent)
{
	long now;

	sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	now = SYS0(SYS_getppid);
	/* The parent ended before the call. (0 means that it is outside of this PID namespace.) */
	if (now != parent && now != 0)
		sys_exit(NOT_EXECUTED);
}

/* Execute the init's interpreter. Of the caller's environment, it gets only where its libraries
 * are. */
static _Noreturn void become_init(const struct installation *found, int executable,
				  char *const *envp, int channel, int status)
{
	static char *const words[] = { (char *)(uintptr_t) "init", NULL };
	const long ends[] = { channel, status };
	char ours[64];
	char *environment[3] = { variable(ours, sizeof(ours), INIT_VARIABLE, ends, 2) };

	for (; *envp; envp++)
		if (text_begins(*envp, LIBRARIES))
			environment[1] = *envp;
	SYS2(SYS_setpgid, 0, 0);
	sys_inherit(channel);
	sys_inherit(status);
	executable_run(found->interpreter, executable, interpreter_argv(found, words), environment);
	sys_exit(NOT_EXECUTED);
}

bool early_init_start(const struct installation *found, int executable, char *const *envp,
		      char *place, size_t size)
{
	const long parent = sys_getpid();
	int channel[2], status_read = -1, status_write = -1;
	long pid;

	if (SYS4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0 ||
	    sys_pipe(&status_read, &status_write) < 0)
		return false;
	pid = sys_fork();
	if (pid == 0) {
		end_with(parent);
		become_init(found, executable, envp, channel[1], status_write);
	}
	if (pid < 0)
		return false;
	SYS2(SYS_setpgid, pid, pid);
	/* The execve(2) closes the child's ends. */
	sys_inherit(channel[0]);
	sys_inherit(status_read);
	variable(place, size, INIT_VARIABLE, (const long[]){ pid, channel[0], status_read }, 3);
	return true;
}
