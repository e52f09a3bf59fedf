/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Why this is C: with RLIMIT_DATA or RLIMIT_AS of a few megabytes an interpreter cannot allocate
 * memory any more, not even for the error that says so; and a filter may allow no more system calls
 * than the program itself makes.
 *
 * The filter binds the thread that installs it, and nobody else. So a second thread, without the
 * filter, does what is left to do after that: it sends the filter's listener to the agent, and
 * tells why the program could not be executed. execve(2) ends it. It was also considered to have a
 * child process do so, which shares the descriptors (as crun does): that leaves the program a
 * zombie, or needs wait4(2), which the filter may deny.
 *
 * If no thread can be made (pids.max is 1), this thread does all of it under the filter.
 */
#include "inside/exec_steps.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/fallback.h"
#include "base/signals.h"
#include "inside/limits.h"
#include "inside/seccomp.h"

#define STACK_SIZE  (64 * 1024)
#define STACK_USED  (16 * 1024) /* more than is needed from here on */
#define MESSAGE_MAX (16 * 1024)
#define FAILED	    1

/* SECCOMP_FILTER_FLAG_TSYNC and _TSYNC_ESRCH, which would put the filter on the second thread
 * too. */
#define OF_ALL_THREADS (1U << 0 | 1U << 4)

enum stage {
	NOTHING_TO_DO,
	LISTENER_THERE,
	LISTENER_SENT,
	PROGRAM_FAILED,
};

/* What the two threads share. */
struct meeting {
	const struct execution *execution;
	uint32_t stage; /* enum stage */
	int listener;
	struct err err;
};

static _Alignas(16) uint8_t stack[STACK_SIZE];
static struct meeting meeting;

static enum stage stage_now(void)
{
	return (enum stage)__atomic_load_n(&meeting.stage, __ATOMIC_ACQUIRE);
}

static void come_to(enum stage stage)
{
	__atomic_store_n(&meeting.stage, (uint32_t)stage, __ATOMIC_RELEASE);
}

/* ---- how a failure is reported */

static void add_text_of(struct text *t, struct span texts, int number)
{
	struct span one = { "", 0 };

	for (int i = 0; i <= number; i++)
		if (!span_ended(&texts, '\0', &one))
			one = (struct span){ "", 0 };
	text_add_span(t, one);
}

static void add_word(struct text *t, const char *word)
{
	text_add(t, word);
	text_add_span(t, (struct span){ "", 1 });
}

/* Report a failure as libcontainer.init.main does: error, operation, subject, errno, why. */
static void tell_on_channel(const struct execution *execution, const struct err *err)
{
	static char buf[MESSAGE_MAX];
	struct text t = TEXT_IN(buf);
	uint32_t size;

	add_word(&t, "error");
	add_word(&t, err->operation);
	add_word(&t, err->subject);
	text_add_number(&t, err->errnum);
	add_word(&t, "");
	add_text_of(&t, execution->errno_texts, err->errnum);
	size = (uint32_t)t.len;
	if (descriptor_write_all(execution->channel_fd, &size, sizeof(size)) == 0)
		descriptor_write_all(execution->channel_fd, buf, size);
}

static void tell_on_stderr(const struct execution *execution, const struct err *err)
{
	static char buf[MESSAGE_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, err->operation);
	text_add(&t, " ");
	text_add(&t, err->subject);
	text_add(&t, ": ");
	add_text_of(&t, execution->errno_texts, err->errnum);
	text_add(&t, "\n");
	descriptor_write_all(STDERR_FILENO, buf, t.len);
}

static _Noreturn void fail(const struct execution *execution, const struct err *err)
{
	if (execution->channel_fd >= 0)
		tell_on_channel(execution, err);
	else
		tell_on_stderr(execution, err);
	SYS1(SYS_exit_group, FAILED);
	__builtin_trap(); /* the filter denies exit_group(2) */
}

/* ---- the steps */

/* Under a small RLIMIT_STACK the kernel does not let the stack grow any more. So this uses as much
 * of it as is needed later, before the limit is set. */
static void grow_stack(void)
{
	volatile uint8_t used[STACK_USED];

	for (size_t i = 0; i < sizeof(used); i += 512)
		used[i] = 0;
	(void)used[0];
}

static long install_filter(const struct execution *execution)
{
	const struct sock_fprog program = {
		.len = (unsigned short)(execution->filter.len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)execution->filter.data,
	};

	return fallback_set_filter(&program, execution->filter_flags & ~OF_ALL_THREADS);
}

static void give_listener(const struct execution *execution, int listener)
{
	struct err err;
	long ret = seccomp_send_listener(execution->agent_fd, execution->agent_message, listener);

	if (ret < 0) {
		err_set(&err, "failed to send the listener to seccomp agent", execution->agent_path,
			ret);
		fail(execution, &err);
	}
}

/* ---- the thread without the filter */

static int accompany(void *arg)
{
	const struct timespec nap = { .tv_nsec = 20000 };
	const struct meeting *m = arg;

	for (;;) {
		switch (stage_now()) {
		case LISTENER_THERE:
			give_listener(m->execution, m->listener);
			come_to(LISTENER_SENT);
			break;
		case PROGRAM_FAILED:
			fail(m->execution, &m->err);
		case NOTHING_TO_DO:
		case LISTENER_SENT:
			SYS2(SYS_nanosleep, &nap, NULL);
		}
	}
}

/* Returns false if it cannot be made. All signals are blocked in it: no handler runs there. */
static bool start_thread(const struct execution *execution)
{
	const int flags =
		CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;
	uint64_t before;
	int tid;

	meeting = (struct meeting){ .execution = execution, .listener = -1 };
	before = signals_block(ALL_SIGNALS);
	tid = clone(accompany, stack + STACK_SIZE, flags, &meeting);
	signals_block(before);
	return tid > 0;
}

/* Wait for the other thread without a system call, which the filter could deny. */
static void wait_while(enum stage stage)
{
	while (stage_now() == stage)
		;
}

static void leave_listener(int listener)
{
	meeting.listener = listener;
	come_to(LISTENER_THERE);
	wait_while(LISTENER_THERE);
}

/* ---- together */

static int confine(const struct execution *execution, bool accompanied, struct err *err)
{
	long ret;

	if (limits_set(execution->rlimits, err) < 0)
		return -1;
	if (!execution->filter.data)
		return 0;
	ret = install_filter(execution);
	if (ret < 0)
		return err_set(err, "seccomp", "set filter", ret);
	if (execution->agent_fd < 0)
		return 0;
	if (accompanied)
		leave_listener((int)ret);
	else
		give_listener(execution, (int)ret);
	return 0;
}

void execution_run(const struct execution *execution)
{
	bool accompanied = execution->filter.data && start_thread(execution);
	struct err *err = &meeting.err;

	grow_stack();
	if (confine(execution, accompanied, err) < 0)
		fail(execution, err);
	err_set(err, "exec", execution->path,
		SYS3(SYS_execve, execution->path, execution->argv, execution->envp));
	if (!accompanied)
		fail(execution, err);
	come_to(PROGRAM_FAILED);
	for (;;)
		wait_while(PROGRAM_FAILED);
}
