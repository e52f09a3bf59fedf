/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/pid1.h"

#include <limits.h>
#include <linux/capability.h>

#include "base/clone.h"
#include "base/descriptor.h"
#include "base/exec.h"
#include "base/fallback.h"
#include "base/signals.h"
#include "inside/credentials.h"

#define KILLED 128 /* and the number of the signal, as a shell's status */

/*
 * Give up everything but what PID 1 has to do. It holds no stream of the payload open and keeps no
 * directory busy, and no process of the namespace can look into it. An ordinary user cannot look
 * into it either: nsenter/_launch/join_targets.py joins the namespaces of its child instead.
 */
static int shed(int verdict_fd, struct err *err)
{
	long ret;

	if (credentials_keep_only(1ULL << CAP_KILL, err) < 0)
		return -1;
	ret = verdict_fd > 0 ? fallback_close_range(0, (unsigned)verdict_fd - 1, CLOSE_NOW) : 0;
	if (ret == 0)
		ret = fallback_close_range((unsigned)verdict_fd + 1, ~0U, CLOSE_NOW);
	if (ret == 0)
		ret = SYS1(SYS_chdir, "/");
	if (ret < 0)
		return err_set(err, "close_range", "what PID 1 does not need", ret);
	return 0;
}

/* End as the child has ended. */
_Noreturn static void end_as(int verdict_fd, const siginfo_t *ended)
{
	uint8_t number = (uint8_t)ended->si_status;

	if (ended->si_code == CLD_EXITED)
		sys_exit(ended->si_status);
	sys_write(verdict_fd, &number, 1);
	sys_exit(KILLED + number);
}

/* The status of PID 1 if it can no longer wait for the child. The whole namespace ends with it, so
 * that nothing in there runs without an end. */
#define LOST 255

/* Collect all processes that have ended. If the child is one of them, end. */
static void reap(int verdict_fd, int child)
{
	siginfo_t ended = { 0 };
	long ret;

	do {
		ended.si_pid = 0;
		ret = SYS5(SYS_waitid, P_ALL, 0, &ended, WEXITED | WNOHANG | __WALL, 0);
		if (ret == 0 && ended.si_pid == child)
			end_as(verdict_fd, &ended);
	} while (ret == -EINTR || (ret == 0 && ended.si_pid != 0));
	if (ret < 0)
		sys_exit(LOST);
}

_Noreturn static void stay(int verdict_fd, int child)
{
	const uint64_t all_signals = ALL_SIGNALS;

	for (;;) {
		siginfo_t info = { 0 };
		long sig;

		reap(verdict_fd, child);
		sig = SYS4(SYS_rt_sigtimedwait, &all_signals, &info, 0, sizeof(all_signals));
		/* SI_KERNEL: the terminal has sent it, and to the child's process group as well. */
		if (sig < 0 && sig != -EINTR && sig != -EAGAIN)
			sys_exit(LOST);
		if (sig > 0 && sig != SIGCHLD && info.si_code != SI_KERNEL)
			SYS2(SYS_kill, child, sig);
	}
}

/* ---- a PID 1 that has executed nsinit */

#define VARIABLE "_NSENTER_REAPER"

struct handover {
	struct nsexec ns;
	int gate[2];
};

/* The numbers in the variable, which is for example "9,12,2,1". */
enum number { VERDICT_FD, GATE_FD, CHILD, DIES_WITH_PARENT, NUMBERS };

/* Add the variable. */
static void describe(struct text *t, const struct handover *own, long child)
{
	const int64_t numbers[NUMBERS] = {
		[VERDICT_FD] = own->ns.launch.init_fd,
		[GATE_FD] = own->gate[1],
		[CHILD] = child,
		[DIES_WITH_PARENT] = own->ns.launch.die_with_parent,
	};

	text_add(t, VARIABLE "=");
	for (size_t i = 0; i < NUMBERS; i++) {
		if (i)
			text_add(t, ",");
		text_add_number(t, numbers[i]);
	}
}

static _Noreturn void execute(long child, void *context)
{
	struct handover *own = context;
	char buf[128];
	struct text t = TEXT_IN(buf);
	char name[] = "nsinit";
	char *argv[] = { name, NULL };
	char *envp[] = { buf, NULL };
	struct err err;
	long ret;

	describe(&t, own, child);
	text_end(&t);
	ret = SYS5(SYS_execveat, own->ns.launch.reaper_fd, "", argv, envp, AT_EMPTY_PATH);
	err_set(&err, "execveat", "nsinit, as PID 1", ret);
	nsexec_fail(&own->ns, &err);
}

static bool read_numbers(const char *value, int *numbers)
{
	struct span rest = span_of(value);

	for (size_t i = 0; i < NUMBERS; i++) {
		struct span word;
		uint64_t number;

		if (!span_next(&rest, ',', &word) || !parse_decimal(word, INT_MAX, &number))
			return false;
		numbers[i] = (int)number;
	}
	return true;
}

void pid1_resume(char *const *envp)
{
	const char *value = environment_get(envp, VARIABLE);
	int numbers[NUMBERS];
	struct err err;

	/* Any program can set the variable, but only the first process of a namespace is PID 1. */
	if (!value || sys_getpid() != 1 || !read_numbers(value, numbers))
		return;
	sys_prctl(PR_SET_DUMPABLE, NOT_DUMPABLE);
	if (numbers[DIES_WITH_PARENT])
		sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	sys_prctl(PR_SET_NAME, (unsigned long)"nsinit");
	/* This closes the gate, so that the child goes on. */
	if (shed(numbers[VERDICT_FD], &err) < 0)
		sys_exit(LOST);
	stay(numbers[VERDICT_FD], numbers[CHILD]);
}

/* In the child: wait until PID 1 has its own memory, and has given up its rights. */
static int await_reaper(int gate_fd, struct err *err)
{
	OWNED_FD gate = gate_fd;
	uint8_t byte;
	long n = sys_read(gate, &byte, 1);

	if (n == 0)
		return 0;
	return err_set(err, "read", "the gate of PID 1", n < 0 ? n : EPROTO);
}

/* Returns whether a filter refuses execveat(2). This must be known before the child takes over the
 * memory, because there is no other way to execute nsinit: a path in /proc would be one in the
 * payload's /proc. */
static bool is_execveat_refused(void)
{
	static char *const none[] = { NULL };
	static char word[] = "nsinit";
	static char *const argv[] = { word, NULL };

	return SYS5(SYS_execveat, -1, "", argv, none, AT_EMPTY_PATH) != -EBADF;
}

/* Returns whether PID 1 can execute nsinit and keep its capabilities, which requires uid 0. */
static bool can_execute(const struct nsexec *ns)
{
	return ns->took_over && ns->launch.reaper_fd >= 0 && SYS0(SYS_geteuid) == 0 &&
	       !is_execveat_refused() && ns->take_over->leave();
}

static long clone_over(const struct nsexec *ns, const struct clone_request *request,
		       struct err *err)
{
	static struct handover own;
	long pid, ret;

	own.ns = *ns;
	/* PID 1 keeps its end when it executes nsinit. */
	ret = SYS2(SYS_pipe2, own.gate, NOT_CLOSE_ON_EXEC);
	if (ret < 0)
		return err_set(err, "pipe2", "the gate of PID 1", ret);
	pid = process_clone_in_place(request, ns->take_over->stack_top, execute, &own);
	ns->take_over->arrive();
	sys_close(own.gate[1]);
	if (pid < 0)
		return err_set(err, "clone", "the child of PID 1", pid);
	return await_reaper(own.gate[0], err);
}

/* ---- splitting */

/* What the child gets back that PID 1 must not have, or has otherwise. */
struct before {
	long dumpable;
	char name[16]; /* TASK_COMM_LEN */
	uint64_t blocked;
};

/* Become what PID 1 is, before there is a child: the child may be the payload before PID 1 has
 * given up anything. */
static void become_pid1(const struct nsexec *ns, struct before *before)
{
	before->dumpable = sys_prctl(PR_GET_DUMPABLE, 0);
	/* The launcher may have ended already. If it is still there at report_ready(), then it was
	 * also there now, and the signal will come. */
	if (ns->launch.die_with_parent)
		sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	sys_prctl(PR_SET_DUMPABLE, NOT_DUMPABLE);
	sys_prctl(PR_GET_NAME, (unsigned long)before->name);
	sys_prctl(PR_SET_NAME, (unsigned long)"nsinit");
	/* The kernel drops signals for PID 1 that it has no handlers for, unless they are
	 * blocked. */
	before->blocked = signals_block(ALL_SIGNALS);
}

/* In the child: become what the process was before, in a session of its own. */
static int go_on(const struct nsexec *ns, const struct before *before, struct err *err)
{
	long ret;

	if (ns->launch.reaper_fd >= 0)
		sys_close(ns->launch.reaper_fd);
	sys_prctl(PR_SET_NAME, (unsigned long)before->name);
	signals_block(before->blocked);
	if (before->dumpable == DUMPABLE)
		sys_prctl(PR_SET_DUMPABLE, DUMPABLE);
	sys_close(ns->launch.init_fd);
	/* PID 1 leads the session that it is in. */
	ret = ns->launch.keep_session ? 0 : SYS0(SYS_setsid);
	return ret < 0 ? err_set(err, "setsid", "", ret) : 0;
}

int pid1_split(const struct nsexec *ns, struct err *err)
{
	const struct clone_request request = { .cgroup_fd = -1, .thread_id = ns->thread_id };
	const int verdict_fd = ns->launch.init_fd;
	struct before before;
	long pid;

	if (verdict_fd < 0)
		return 0;
	become_pid1(ns, &before);
	if (can_execute(ns))
		return clone_over(ns, &request, err) < 0 ? -1 : go_on(ns, &before, err);
	pid = process_clone(&request);
	if (pid < 0)
		return err_set(err, "clone", "the child of PID 1", pid);
	if (pid == 0)
		return go_on(ns, &before, err);
	if (shed(verdict_fd, err) < 0)
		return -1;
	stay(verdict_fd, (int)pid);
}
