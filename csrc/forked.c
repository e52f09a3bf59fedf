/* SPDX-License-Identifier: Apache-2.0 */
#include "forked.h"

#include "libc.h"
#include "nsexec.h"
#include "tail.h"

void forked_stages(int init_fd, int status_fd)
{
	struct nsexec ns = {
		.init_fd = init_fd,
		.launched = true,
		.report = { .log_fd = -1, .status_fd = status_fd, .stage = "parent" },
	};
	struct err err;

	libc_settle();
	ns.thread_id = libc_thread_id();
	nsexec(&ns);
	if (tail_keep_fds(ns.launch.keep_fds, 0, &err) < 0 || tail_prepare(&ns.launch, &err) < 0)
		nsexec_fail(&ns, &err);
	report_trace(&ns.report, "forked");
	nsexec_restore_signals(&ns);
}
