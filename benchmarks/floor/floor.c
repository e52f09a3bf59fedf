/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor PROGRAM: what the kernel alone takes to start PROGRAM in new namespaces.
 *
 * One small static process that stays, so that neither its own start nor Python is in what it
 * measures. For each line on standard input, a decimal of CLONE_NEW* bits, it makes one launch:
 * clone3 with the bits; in the child, of a new user namespace, the maps of one id, which it may
 * write itself; execve; waitpid. It prints the nanoseconds from before the clone3 to when PROGRAM
 * is executed (the write end of a close-on-exec pipe is gone), and to when it was waited for.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		die(path);
	close(fd);
}

static void write_maps(unsigned uid, unsigned gid)
{
	char line[32];

	put("/proc/self/setgroups", "deny");
	snprintf(line, sizeof(line), "0 %u 1\n", uid);
	put("/proc/self/uid_map", line);
	snprintf(line, sizeof(line), "0 %u 1\n", gid);
	put("/proc/self/gid_map", line);
}

static pid_t start(char *program, uint64_t flags)
{
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	char *const argv[] = { program, NULL };
	char *const envp[] = { NULL };
	unsigned uid = geteuid(), gid = getegid();
	int pipe_fds[2];
	char byte;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		die("pipe2");
	pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	if (pid == 0) {
		if (flags & CLONE_NEWUSER)
			write_maps(uid, gid);
		execve(program, argv, envp);
		_exit(127);
	}
	close(pipe_fds[1]);
	if (pid > 0 && read(pipe_fds[0], &byte, 1) != 0)
		die("read");
	close(pipe_fds[0]);
	return pid;
}

static void measure(char *program, uint64_t flags)
{
	int64_t started = now();
	pid_t pid = start(program, flags);
	int64_t executed = now();
	int status;

	if (pid < 0)
		die("clone3");
	if (waitpid(pid, &status, 0) != pid || status != 0)
		die("the program did not end with 0: waitpid");
	printf("%lld %lld\n", (long long)(executed - started), (long long)(now() - started));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char line[32];

	if (argc != 2) {
		fputs("usage: floor PROGRAM\n", stderr);
		return 2;
	}
	while (fgets(line, sizeof(line), stdin))
		measure(argv[1], strtoull(line, NULL, 10));
	return 0;
}
