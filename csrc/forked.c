/* SPDX-License-Identifier: Apache-2.0 */
#include "forked.h"

#include "filter.h"
#include "libc.h"
#include "nsexec.h"
#include "tail.h"

/* Of this process, from its stages to its filter: an interpreter runs in between. */
static struct nsexec ns;

void forked_stages(int init_fd, int status_fd)
{
	struct err err;

	ns = (struct nsexec){
		.init_fd = init_fd,
		.launched = true,
		.report = { .log_fd = -1, .status_fd = status_fd, .stage = "parent" },
	};
	libc_settle();
	ns.thread_id = libc_thread_id();
	nsexec(&ns);
	if (tail_keep_fds(ns.launch.keep_fds, 0, &err) < 0 || tail_prepare(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
	report_trace(&ns.report, "forked");
	nsexec_restore_signals(&ns);
}

void forked_confine(void)
{
	struct err err;

	if (tail_confine(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
}

void forked_filter(void)
{
	struct err err;

	if (filter_install(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
}
