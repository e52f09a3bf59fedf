/* SPDX-License-Identifier: Apache-2.0 */
/*
 * killer TID WHICH NTH SIGNAL FROM VICTIM: send a signal at one exact step of a process.
 *
 * Thread TID is traced, and with it all that descends from it. WHICH counts those descendants
 * in the order of their creation, from 0; -1 is TID itself. In the moment this process enters
 * its NTH system call, counted from 1, from the first call number FROM on (-1: from the start),
 * the victim gets SIGNAL: with VICTIM "itself" that process, and the call is not made if the
 * signal kills; with VICTIM "root" TID, and the call is made when TID is dead.
 *
 * Says "ready" when TID is traced, then one of
 *   hit NR     the signal was sent, at the entry of system call NR
 *   passed N   the process ended, or executed another program, after N calls
 * and exits, which lets all that was traced go on as if nothing had been: from then on the
 * dead are reported to nobody but their parent.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/ptrace.h>

#define OPTIONS                                                                                \
	(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |                    \
	 PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define MOST 64
#define SECONDS 20

static pid_t descendants[MOST];
static int descendant_count;

static pid_t root;
static int which;
static long nth, from;
static int sig;
static int kill_root;

static long entered;
static int counting;

static _Noreturn void finish(const char *word, long number)
{
	printf("%s %ld\n", word, number);
	fflush(stdout);
	_exit(0);
}

static void note(pid_t pid)
{
	if (pid == root)
		return;
	for (int i = 0; i < descendant_count; i++)
		if (descendants[i] == pid)
			return;
	if (descendant_count < MOST)
		descendants[descendant_count++] = pid;
}

static int is_target(pid_t pid)
{
	if (which < 0)
		return pid == root;
	return which < descendant_count && descendants[which] == pid;
}

static void resume(pid_t pid, int number)
{
	ptrace(is_target(pid) ? PTRACE_SYSCALL : PTRACE_CONT, pid, 0, (long)number);
}

/* The stopped process goes on only when its parent is gone, and has heard of it. */
static void bury_root(void)
{
	int status;

	kill(root, sig);
	while (waitpid(root, &status, __WALL) == root && WIFSTOPPED(status))
		ptrace(PTRACE_CONT, root, 0, 0);
}

static void at_system_call(pid_t pid)
{
	struct ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) < 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return;
	counting = counting || from < 0 || (long)info.entry.nr == from;
	if (!counting || ++entered != nth)
		return;
	if (kill_root)
		bury_root();
	ptrace(PTRACE_DETACH, pid, 0, kill_root ? 0L : (long)sig);
	finish("hit", (long)info.entry.nr);
}

static void at_event(pid_t pid, int event)
{
	unsigned long child = 0;

	if (event == PTRACE_EVENT_EXEC) {
		/* Stage 0 is a spawned process that executes the stub: its calls go on. */
		if (is_target(pid) && which > 0)
			finish("passed", entered);
	} else if (event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK ||
		   event == PTRACE_EVENT_VFORK) {
		ptrace(PTRACE_GETEVENTMSG, pid, 0, &child);
		note((pid_t)child);
	}
}

static void at_stop(pid_t pid, int status)
{
	int number = WSTOPSIG(status);
	int event = status >> 16;

	note(pid);
	if (number == (SIGTRAP | 0x80)) {
		at_system_call(pid);
		resume(pid, 0);
	} else if (event == PTRACE_EVENT_STOP && number != SIGTRAP) {
		ptrace(PTRACE_LISTEN, pid, 0, 0);
	} else if (event) {
		at_event(pid, event);
		resume(pid, 0);
	} else {
		resume(pid, number);
	}
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid;

	if (argc != 7)
		return 2;
	root = atoi(argv[1]);
	which = atoi(argv[2]);
	nth = atol(argv[3]);
	sig = atoi(argv[4]);
	from = atol(argv[5]);
	kill_root = strcmp(argv[6], "root") == 0;
	alarm(SECONDS);
	if (ptrace(PTRACE_SEIZE, root, 0, OPTIONS) < 0) {
		perror("PTRACE_SEIZE");
		return 1;
	}
	if (which < 0) {
		ptrace(PTRACE_INTERRUPT, root, 0, 0);
		waitpid(root, &status, __WALL);
		resume(root, 0);
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		pid = waitpid(-1, &status, __WALL);
		if (pid < 0 && errno == EINTR)
			continue;
		if (pid < 0)
			finish("passed", entered);
		if (WIFSTOPPED(status))
			at_stop(pid, status);
		else if (is_target(pid))
			finish("passed", entered);
	}
}
