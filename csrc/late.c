/* SPDX-License-Identifier: Apache-2.0 */
#include "late.h"

#include "clone.h"
#include "filter.h"
#include "libc.h"
#include "nsexec.h"
#include "reaper.h"
#include "tail.h"

/* As a program that is spawned has them (spawn.c); but the interpreter goes on, which turns two of
 * them into exceptions. */
static void reset_signals(void)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };
	const uint64_t no_signals = 0;

	for (int sig = 1; sig <= 64; sig++)
		if (sig != SIGPIPE && sig != SIGXFSZ)
			sys_sigaction(sig, &by_default, NULL);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &no_signals, 0, sizeof(no_signals));
}

/* Of this process, from its stages to its filter: an interpreter runs in between. */
static struct nsexec ns;

void late_settle(void)
{
	reset_signals();
	libc_settle();
}

void late_stages(int init_fd, int status_fd)
{
	struct err err;

	ns = (struct nsexec){
		.init_fd = init_fd,
		.place = -1,
		.launched = true,
		.report = { .log_fd = -1, .status_fd = status_fd, .stage = "parent" },
	};
	ns.thread_id = libc_thread_id();
	nsexec(&ns);
	if (nsexec_cut(&ns, &err) < 0 || nsexec_arrive(&ns, &err) < 0 ||
	    tail_keep_fds(ns.launch.keep_fds, 0, &err) < 0 || reaper_split(&ns, &err) < 0)
		nsexec_fail(&ns, &err);
	report_trace(&ns.report, "late");
	nsexec_restore_signals(&ns);
}

void late_confine(void)
{
	struct err err;

	if (tail_confine(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
}

void late_filter(void)
{
	struct err err;

	if (filter_install(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
}

long late_sibling(int *pidfd)
{
	const struct clone_request request = {
		.flags = CLONE_PARENT,
		.cgroup_fd = -1,
		.pidfd = pidfd,
		.thread_id = libc_thread_id(),
	};

	return process_clone(&request);
}
