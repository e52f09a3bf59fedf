/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the process that makes a memory image while the launcher goes on. An engine waits for the end
 * of its pipes, and for all that is in the cgroup or the session; a supervisor that collects every
 * process must find none. So this one keeps nothing that the launcher has, and its parent ends at
 * once.
 */
#include "products/detach.h"

#include "base/exec.h"
#include "base/fallback.h"
#include "base/text.h"

#define VARIABLE "_NSENTER_DETACH"
#define SECONDS	 2 /* an alarm stays set through execve(2) */

/* Where there are stages to go through, the environment is the payload's as well, and may come from
 * anywhere. */
int detach_is_asked(char *const *envp)
{
	return environment_get(envp, VARIABLE) && !environment_get(envp, "_LIBCONTAINER_INITPIPE");
}

/* Once the parent is gone, somebody else collects this process: the init does that for a living,
 * and so does systemd. Any other has asked for the processes of its own, and must not get this one.
 */
static bool is_init(int pid)
{
	char buf[64];
	struct text path = TEXT_IN(buf);
	long fd, n;

	if (pid == 1)
		return true;
	text_add(&path, "/proc/");
	text_add_number(&path, pid);
	text_add(&path, "/comm");
	fd = sys_open(text_end(&path), O_RDONLY);
	n = fd < 0 ? fd : sys_read((int)fd, buf, sizeof(buf));
	return n > 1 && span_equals((struct span){ buf, (size_t)n - 1 }, "systemd");
}

static bool is_collected_by_init(int parent)
{
	const struct timespec nap = { .tv_nsec = 200000 };

	while (SYS0(SYS_getppid) == parent)
		SYS2(SYS_nanosleep, &nap, NULL);
	return is_init((int)SYS0(SYS_getppid));
}

static long use_no_descriptor(void)
{
	long null = SYS4(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);

	for (int fd = 0; fd < 3 && null >= 0; fd++)
		if (null != fd && SYS3(SYS_dup3, null, fd, 0) < 0)
			return -EBADF;
	return null < 0 ? null : fallback_close_range(3, ~0U, 0);
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

	pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid != 0)
		sys_exit(pid < 0);
	if (!is_collected_by_init(parent) || SYS0(SYS_setsid) < 0 || use_no_descriptor() < 0 ||
	    SYS1(SYS_chdir, "/") < 0 || SYS3(SYS_setitimer, 0 /* ITIMER_REAL */, &timer, 0) < 0)
		sys_exit(1);
	exec_program(argv[0], argv, environment);
	sys_exit(1);
}
