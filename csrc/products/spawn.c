/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As vfork(2): the child borrows the caller's memory until it executes, so nothing is copied
 * however large the caller is, and the caller's thread waits. It has a stack of its own, and only
 * ever makes system calls by base/sys.h: errno, locks and buffers it sees are those of the
 * suspended thread.
 */
#include "products/spawn.h"

#include <linux/futex.h>
#include <sched.h>

#include "base/exec.h"
#include "base/fallback.h"
#include "base/namespaces.h"

#define STACK_SIZE (64 * 1024)
#define GUARD_SIZE (64 * 1024) /* a page, whatever its size */
#define SIGNALS	   64

static int fail(struct spawn *spawn, const char *operation, long subject, long ret)
{
	char buf[32];
	struct text t = TEXT_IN(buf);

	text_add(&t, "descriptor ");
	text_add_number(&t, subject);
	return err_set(&spawn->err, operation, text_end(&t), ret);
}

static bool stays_ignored(const struct spawn *spawn, int sig)
{
	struct sys_sigaction now = { .handler = SIG_DFL };

	return (spawn->keep_ignored >> (sig - 1) & 1) && sys_sigaction(sig, NULL, &now) == 0 &&
	       now.handler == SIG_IGN;
}

static void reset_signals(const struct spawn *spawn)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	for (int sig = 1; sig <= SIGNALS; sig++)
		if (!stays_ignored(spawn, sig))
			sys_sigaction(sig, &by_default, NULL); /* SIGKILL: refused, harmless */
}

/* Sources below 3 first move out of the way, so that no dup overwrites one that is to come. */
static int place_stdio(struct spawn *spawn)
{
	int source[3];
	long ret;

	for (int i = 0; i < 3; i++) {
		ret = spawn->stdio[i];
		if (ret < 3 && ret != i)
			ret = SYS3(SYS_fcntl, ret, F_DUPFD_CLOEXEC, 3);
		if (ret < 0)
			return fail(spawn, "fcntl", spawn->stdio[i], ret);
		source[i] = (int)ret;
	}
	for (int i = 0; i < 3; i++) {
		ret = source[i] == i ? SYS3(SYS_fcntl, i, F_SETFD, 0)
				     : SYS3(SYS_dup3, source[i], i, 0);
		if (ret < 0)
			return fail(spawn, "dup3", spawn->stdio[i], ret);
	}
	return 0;
}

static int keep_descriptors(struct spawn *spawn)
{
	long ret = fallback_close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);

	if (ret < 0)
		return err_set(&spawn->err, "close_range", "of all descriptors", ret);
	for (size_t i = 0; i < spawn->keep_count; i++) {
		ret = SYS3(SYS_fcntl, spawn->keep_fds[i], F_SETFD, 0);
		if (ret < 0)
			return fail(spawn, "fcntl", spawn->keep_fds[i], ret);
	}
	return 0;
}

static void execute(struct spawn *spawn)
{
	const char *name = spawn->exe_path ? spawn->exe_path : spawn->argv[0];
	long ret;

	spawn->executing = true;
	if (spawn->exe_fd >= 0)
		ret = fallback_execute(spawn->exe_fd, spawn->argv, spawn->envp);
	else
		ret = exec_program(name, spawn->argv, spawn->envp);
	err_set(&spawn->err, "execve", name, ret);
}

static int lead_process_group(const struct spawn *spawn, struct err *err)
{
	(void)spawn;
	(void)err;
	SYS2(SYS_setpgid, 0, 0);
	return 0;
}

/* Nothing may be executed for a caller that has ended. From here on, the kernel kills this child
 * when the caller ends. Whether it ended before, its pidfd tells in any PID namespace, and so does
 * a pipe whose other end the caller held. */
static int die_with(struct spawn *spawn)
{
	struct pollfd ended = { .fd = spawn->caller, .events = POLLIN };
	const struct timespec now = { 0 };
	long ret;

	if (spawn->caller_end >= 0)
		sys_close(spawn->caller_end); /* this process's own */
	sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	do
		ret = SYS5(SYS_ppoll, &ended, 1, &now, 0, 0);
	while (ret == -EINTR);
	if (ret == 0)
		return 0;
	return err_set(&spawn->err, "ppoll", "the caller", ret < 0 ? ret : ECANCELED);
}

/* Wait until somebody who shares this memory, or the kernel, has changed a word in it. */
static void wait_while(const uint32_t *word, uint32_t value)
{
	while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value)
		SYS6(SYS_futex, word, FUTEX_WAIT, value, 0, 0, 0);
}

static int child(void *arg)
{
	const uint64_t no_signals = 0;
	struct spawn *spawn = arg;

	if (die_with(spawn) < 0) {
		spawn->child_failed = true;
		sys_exit(127);
	}
	reset_signals(spawn);
	if (spawn->outside)
		wait_while(&spawn->gate, 0);
	if (spawn->inside(spawn, &spawn->err) == 0 && place_stdio(spawn) == 0 &&
	    keep_descriptors(spawn) == 0 &&
	    (!spawn->last || spawn->last(spawn, &spawn->err) == 0)) {
		SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof(no_signals));
		if (!spawn->dies_with_caller)
			sys_prctl(PR_SET_PDEATHSIG, 0);
		execute(spawn);
	}
	spawn->child_failed = true;
	sys_exit(127);
}

/* The caller's part, for which it cannot be suspended: the kernel tells by a word in memory, as it
 * does of threads, when the child has executed or ended. */
static void accompany(struct spawn *spawn, int pid, int pidfd)
{
	if (spawn->outside(spawn, pid, &spawn->err) < 0) {
		spawn->refused = true;
		fallback_kill(pidfd, pid);
	} else {
		__atomic_store_n(&spawn->gate, 1, __ATOMIC_RELEASE);
		SYS6(SYS_futex, &spawn->gate, FUTEX_WAKE, 1, 0, 0, 0);
	}
	wait_while(&spawn->shares, 1);
}

/* Run the child to its execve. No handler of the caller may run in it, so signals wait. */
static int clone_child(struct spawn *spawn, uint8_t *stack, int *pidfd)
{
	const int until = spawn->outside ? CLONE_CHILD_CLEARTID : CLONE_VFORK;
	const int flags = CLONE_VM | CLONE_PIDFD | SIGCHLD | until | (int)spawn->clone_flags;
	const uint64_t all_signals = ~0ULL;
	uint64_t before;
	int pid;
	int error;

	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &before, sizeof(before));
	pid = clone(child, stack + GUARD_SIZE + STACK_SIZE, flags, spawn, pidfd, NULL,
		    &spawn->shares);
	error = errno;
	if (pid > 0 && spawn->outside)
		accompany(spawn, pid, *pidfd);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &before, 0, sizeof(before));
	if (pid < 0)
		namespaces_refused(spawn->clone_flags, "clone", error, &spawn->err);
	return pid;
}

/* Reap a child that has not come to its program. */
static int bury(struct spawn *spawn, int pidfd)
{
	siginfo_t info = { 0 };
	long ret;

	do
		ret = SYS5(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED, 0);
	while (ret == -EINTR);
	sys_close(pidfd);
	if (spawn->child_failed || spawn->refused)
		return -1;
	spawn->child_failed = true;
	spawn->child_signal = info.si_status;
	return err_set(&spawn->err, "run", "killed", ECANCELED);
}

void spawn_split(char *strings, size_t count, char **array)
{
	for (size_t i = 0; i < count; i++) {
		array[i] = strings;
		strings += text_length(strings) + 1;
	}
	array[count] = NULL;
}

/* Returns the pid, whatever has become of the child. */
static int spawn_on_stack(struct spawn *spawn, int *pidfd)
{
	uint8_t *stack = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
	int pid;

	if (stack == MAP_FAILED)
		return err_set(&spawn->err, "mmap", "a stack", errno);
	mprotect(stack, GUARD_SIZE, PROT_NONE);
	pid = clone_child(spawn, stack, pidfd);
	munmap(stack, GUARD_SIZE + STACK_SIZE);
	return pid;
}

/* Open what tells the child that this process has ended: its pidfd or, if a filter refuses that, a
 * pipe whose other end no other process keeps. */
static long open_caller(struct spawn *spawn)
{
	long ret = SYS2(SYS_pidfd_open, sys_getpid(), 0);
	int ends[2];

	spawn->caller_end = -1;
	if (is_refused(ret)) {
		ret = SYS2(SYS_pipe2, ends, O_CLOEXEC);
		if (ret == 0) {
			spawn->caller_end = ends[1];
			ret = ends[0];
		}
	}
	spawn->caller = (int)ret;
	return ret;
}

int spawn_process(struct spawn *spawn, int *pidfd)
{
	long ret;
	int pid;

	if (!spawn->inside)
		spawn->inside = lead_process_group;
	spawn->executing = spawn->child_failed = spawn->refused = false;
	spawn->child_signal = 0;
	spawn->gate = 0;
	spawn->shares = 1;
	ret = open_caller(spawn);
	if (ret < 0)
		return err_set(&spawn->err, "pidfd_open", "the caller", ret);
	pid = spawn_on_stack(spawn, pidfd);
	sys_close(spawn->caller);
	if (spawn->caller_end >= 0)
		sys_close(spawn->caller_end);
	if (pid < 0 || (spawn->executing && !spawn->child_failed))
		return pid;
	return bury(spawn, *pidfd);
}
