/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peaks PROGRAM ARG…: how much memory each process on the way had at most.
 *
 * It follows PROGRAM and all that come of it (ptrace(2)) and prints a line for each process when it
 * ends: "KIB NAME", from VmHWM and Name in /proc/PID/status: the peak since its last execve.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS                                                                                    \
	(PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |     \
	 PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL)

static void tell(pid_t pid)
{
	char path[64], line[256], name[64] = "?";
	unsigned long peak = 0;
	pid_t leader = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		sscanf(line, "Name: %63[^\n]", name);
		sscanf(line, "Tgid: %d", &leader);
		sscanf(line, "VmHWM: %lu", &peak);
	}
	fclose(file);
	if (leader == pid) /* and no other thread */
		printf("%lu %s\n", peak, name);
}

/* What a stopped process is to be told when it goes on: the signal that was for it. */
static int signal_for(int status)
{
	int event = status >> 16, sig = WSTOPSIG(status);

	if (event || sig == SIGTRAP || sig == SIGSTOP)
		return 0;
	return sig;
}

int main(int argc, char **argv)
{
	pid_t first, pid;
	int status, result = 1;

	if (argc < 2) {
		fputs("usage: peaks PROGRAM ARG…\n", stderr);
		return 2;
	}
	first = fork();
	if (first == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execv(argv[1], argv + 1);
		_exit(127);
	}
	if (first < 0 || waitpid(first, &status, 0) != first ||
	    ptrace(PTRACE_SETOPTIONS, first, NULL, OPTIONS) < 0) {
		perror("peaks");
		return 1;
	}
	ptrace(PTRACE_CONT, first, NULL, 0);
	while ((pid = waitpid(-1, &status, __WALL)) > 0 || errno == EINTR) {
		if (pid > 0 && WIFSTOPPED(status)) {
			if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXIT << 8)))
				tell(pid);
			ptrace(PTRACE_CONT, pid, NULL, signal_for(status));
		} else if (pid == first) {
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
		}
	}
	return result;
}
