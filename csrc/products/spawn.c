/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As with vfork(2), the child uses the caller's memory until it executes, while the calling thread
 * waits: so nothing is copied, however large the caller is. The child has a stack of its own.
 *
 * The child must not call libc, allocate memory, or write to any memory but its stack and struct
 * spawn. The errno, the locks and the buffers that it sees are those of the caller, whose other
 * threads go on. So all that it does are system calls by base/sys.h. No handler of a signal may run
 * in it either: all signals are blocked until it has reset them.
 */
#include "products/spawn.h"

#include <linux/futex.h>
#include <sched.h>

#include "base/descriptor.h"
#include "base/exec.h"
#include "base/fallback.h"
#include "base/namespaces.h"
#include "base/signals.h"

#define STACK_SIZE (64 * 1024)
#define GUARD_SIZE (64 * 1024) /* a page, whatever its size */

static int fail(struct spawn *spawn, const char *operation, long subject, long ret)
{
	char buf[32];
	struct text t = TEXT_IN(buf);

	text_add(&t, "descriptor ");
	text_add_number(&t, subject);
	return err_set(&spawn->err, operation, text_end(&t), ret);
}

/* Returns which signals stay ignored. */
static uint64_t ignored(const struct spawn *spawn)
{
	uint64_t set = NO_SIGNALS;

	for (int sig = 1; sig <= SIGNAL_MAX; sig++)
		if ((spawn->keep_ignored & ONLY_SIGNAL(sig)) && sys_is_ignored(sig))
			set |= ONLY_SIGNAL(sig);
	return set;
}

/* Put the streams in place. A source below 3 is duplicated to a higher number first, because the
 * stream that is put there would overwrite it. */
static int place_stdio(struct spawn *spawn)
{
	int source[3];
	long ret;

	for (int i = 0; i < 3; i++) {
		ret = spawn->stdio[i];
		if (ret < FIRST_AFTER_STREAMS && ret != i)
			ret = SYS3(SYS_fcntl, ret, F_DUPFD_CLOEXEC, FIRST_AFTER_STREAMS);
		if (ret < 0)
			return fail(spawn, "fcntl", spawn->stdio[i], ret);
		source[i] = (int)ret;
	}
	for (int i = 0; i < 3; i++) {
		ret = sys_put_inherited(source[i], i);
		if (ret < 0)
			return fail(spawn, "dup3", spawn->stdio[i], ret);
	}
	return 0;
}

static int keep_descriptors(struct spawn *spawn)
{
	long ret = fallback_close_range(FIRST_AFTER_STREAMS, ~0U, CLOSE_RANGE_CLOEXEC);

	if (ret < 0)
		return err_set(&spawn->err, "close_range", "of all descriptors", ret);
	for (size_t i = 0; i < spawn->keep_count; i++) {
		ret = sys_inherit(spawn->keep_fds[i]);
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
 * when the caller ends. The caller's pidfd tells in any PID namespace whether it has ended before,
 * and so does a pipe whose other end the caller holds. getppid(2) would not: it is 0 for a parent
 * outside of the child's PID namespace. */
static int die_with(struct spawn *spawn)
{
	struct pollfd ended = { .fd = spawn->caller, .events = POLLIN };
	const struct timespec now = { 0 };
	long ret;

	if (spawn->caller_end >= 0)
		sys_close(spawn->caller_end); /* the child's copy: the caller alone may hold it */
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
	struct spawn *spawn = arg;

	if (die_with(spawn) < 0) {
		spawn->child_failed = true;
		sys_exit(NOT_EXECUTED);
	}
	signals_reset(ignored(spawn));
	if (spawn->outside)
		wait_while(&spawn->gate, 0);
	if (spawn->inside(spawn, &spawn->err) == 0 && place_stdio(spawn) == 0 &&
	    keep_descriptors(spawn) == 0 &&
	    (!spawn->last || spawn->last(spawn, &spawn->err) == 0)) {
		signals_block(NO_SIGNALS);
		if (!spawn->dies_with_caller)
			sys_prctl(PR_SET_PDEATHSIG, 0);
		execute(spawn);
	}
	spawn->child_failed = true;
	sys_exit(NOT_EXECUTED);
}

/* Do the caller's part, for which the kernel must not suspend it as with vfork(2). The kernel
 * clears a word in memory when the child has executed or ended, as it does for the end of a
 * thread. */
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

/* Run the child to its execve(2), with all signals blocked. */
static int clone_child(struct spawn *spawn, uint8_t *stack, int *pidfd)
{
	const int until = spawn->outside ? CLONE_CHILD_CLEARTID : CLONE_VFORK;
	const int flags = CLONE_VM | CLONE_PIDFD | SIGCHLD | until | (int)spawn->clone_flags;
	const uint64_t before = signals_block(ALL_SIGNALS);
	int pid;
	int error;

	pid = clone(child, stack + GUARD_SIZE + STACK_SIZE, flags, spawn, pidfd, NULL,
		    &spawn->shares);
	error = errno;
	if (pid > 0 && spawn->outside)
		accompany(spawn, pid, *pidfd);
	signals_block(before);
	if (pid < 0)
		namespaces_refused(spawn->clone_flags, "clone", error, &spawn->err);
	return pid;
}

/* Wait for the end of a child that has not executed its program. Returns -1. */
static int collect(struct spawn *spawn, int pidfd)
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

/* Returns the pid, even if the child has failed. */
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
 * pipe whose other end, `caller_end`, no other process keeps. */
static int open_caller(int *caller_end)
{
	long ret = SYS2(SYS_pidfd_open, sys_getpid(), 0);
	int caller = (int)ret;

	if (is_refused(ret))
		ret = sys_pipe(&caller, caller_end);
	return ret < 0 ? (int)ret : caller;
}

int spawn_process(struct spawn *spawn, int *pidfd)
{
	OWNED_FD caller_end = -1;
	OWNED_FD caller = open_caller(&caller_end);
	int pid;

	if (!spawn->inside)
		spawn->inside = lead_process_group;
	spawn->executing = spawn->child_failed = spawn->refused = false;
	spawn->child_signal = 0;
	spawn->gate = 0;
	spawn->shares = 1;
	if (caller < 0)
		return err_set(&spawn->err, "pidfd_open", "the caller", caller);
	spawn->caller = caller;
	spawn->caller_end = caller_end;
	pid = spawn_on_stack(spawn, pidfd);
	if (pid < 0 || (spawn->executing && !spawn->child_failed))
		return pid;
	return collect(spawn, *pidfd);
}
