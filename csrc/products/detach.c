/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the process that makes a memory image while the launcher goes on. An engine waits for the end
 * of its pipes, and for all processes in the cgroup or the session. A supervisor collects every
 * process that becomes its child. Neither may have to wait for the image. So this process keeps
 * nothing that the launcher has, and its parent ends at once.
 */
#include "products/detach.h"

#include <sys/time.h>

#include "base/descriptor.h"
#include "base/exec.h"
#include "base/fallback.h"
#include "base/proc.h"
#include "base/text.h"

#define VARIABLE "_NSENTER_DETACH"
#define SECONDS	 2 /* an alarm stays set through execve(2) */

/* If nsinit was started for the stages, its environment is also the payload's: any caller may have
 * put the variable in there. */
int detach_is_asked(char *const *envp)
{
	return environment_get(envp, VARIABLE) && !environment_get(envp, "_LIBCONTAINER_INITPIPE");
}

/* Returns whether a process collects all processes whose parents have ended, as PID 1 does, and
 * systemd for a user. Any other has made itself a subreaper to collect its own processes alone, and
 * must not be given this one. */
static bool is_init(int pid)
{
	char buf[64];
	struct text path = TEXT_IN(buf);
	OWNED_FD fd = -1;
	long n;

	if (pid == 1)
		return true;
	fd = sys_open(proc_path(&path, pid, "comm"), O_RDONLY);
	n = fd < 0 ? fd : sys_read(fd, buf, sizeof(buf));
	return n > 1 && span_equals((struct span){ buf, (size_t)n - 1 }, "systemd");
}

static bool is_collected_by_init(int parent)
{
	const struct timespec nap = { .tv_nsec = 200000 };

	while (SYS0(SYS_getppid) == parent)
		SYS2(SYS_nanosleep, &nap, NULL);
	return is_init((int)SYS0(SYS_getppid));
}

/* Leave the process /dev/null for its streams, and no other descriptor. */
static long use_no_descriptor(void)
{
	const int null = sys_open("/dev/null", O_RDWR);

	if (null < 0)
		return null;
	for (int fd = 0; fd < FIRST_AFTER_STREAMS; fd++)
		if (sys_put_inherited(null, fd) < 0)
			return -EBADF;
	return fallback_close_range(FIRST_AFTER_STREAMS, ~0U, CLOSE_NOW);
}

_Noreturn void detach(char **argv)
{
	static char path[] = "PATH=/usr/bin:/bin";
	static char locale[] = "LC_ALL=C.UTF-8";
	static char *const environment[] = { path, locale, NULL };
	const struct {
		struct timeval every, next;
	} timer = { { 0, 0 }, { SECONDS, 0 } };
	const int parent = (int)sys_getpid();
	long pid;

	pid = sys_fork();
	if (pid != 0)
		sys_exit(pid < 0);
	if (!is_collected_by_init(parent) || SYS0(SYS_setsid) < 0 || use_no_descriptor() < 0 ||
	    SYS1(SYS_chdir, "/") < 0 || SYS3(SYS_setitimer, ITIMER_REAL, &timer, NULL) < 0)
		sys_exit(1);
	exec_program(argv[0], argv, environment);
	sys_exit(1);
}
