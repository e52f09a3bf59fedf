/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor PROGRAM FLAGS: what the kernel alone takes to start PROGRAM in new namespaces.
 *
 * One process that stays, so that neither its own start nor Python is in what it measures. For
 * each byte on standard input it makes one launch, and prints the nanoseconds from before the
 * clone to when PROGRAM is executed, and to when it has ended and was waited for:
 *
 *   v  clone(FLAGS | CLONE_VM | CLONE_VFORK): no memory is copied. The least there is.
 *   f  clone3(FLAGS): the child gets a copy of the memory. Executed is when the write end of a
 *      close-on-exec pipe is gone.
 *
 * FLAGS is a decimal of CLONE_NEW* bits.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE 65536

struct launch {
	char *program;
	unsigned long flags;
};

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

static int64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int execute(void *arg)
{
	const struct launch *launch = arg;
	char *const argv[] = { launch->program, NULL };
	char *const envp[] = { NULL };

	execve(launch->program, argv, envp);
	_exit(127);
}

/* The older call: libc wraps it with the stack that a child in the same memory needs. To the
 * kernel the two are one. */
static pid_t start_as_vfork(struct launch *launch)
{
	static char stack[STACK_SIZE] __attribute__((aligned(16)));
	int flags = (int)launch->flags | CLONE_VM | CLONE_VFORK | SIGCHLD;

	return clone(execute, stack + STACK_SIZE, flags, launch);
}

static pid_t start_as_fork(struct launch *launch)
{
	struct clone_args args = { .flags = launch->flags, .exit_signal = SIGCHLD };
	int pipe_fds[2];
	char byte;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		die("pipe2");
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0)
		execute(launch);
	close(pipe_fds[1]);
	if (pid > 0 && read(pipe_fds[0], &byte, 1) != 0)
		die("read");
	close(pipe_fds[0]);
	return pid;
}

static void measure(struct launch *launch, bool as_vfork)
{
	int64_t started = now();
	pid_t pid = as_vfork ? start_as_vfork(launch) : start_as_fork(launch);
	int64_t executed = now();
	int status;

	if (pid < 0)
		die("clone");
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("the program did not end with 0: waitpid");
	printf("%lld %lld\n", (long long)(executed - started), (long long)(now() - started));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct launch launch;
	char mode;

	if (argc != 3) {
		fputs("usage: floor PROGRAM FLAGS\n", stderr);
		return 2;
	}
	launch = (struct launch){ argv[1], strtoul(argv[2], NULL, 10) };
	while (read(STDIN_FILENO, &mode, 1) == 1)
		measure(&launch, mode == 'v');
	return 0;
}
