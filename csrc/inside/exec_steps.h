/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last steps of a container's init: its resource limits, its filter of system calls, and its
 * program. Nothing else is done once a limit or the filter is in force.
 */
#ifndef NSX_EXEC_STEPS_H
#define NSX_EXEC_STEPS_H

#include <stdint.h>

#include "base/err.h"

struct execution {
	const char *path; /* of the program */
	char *const *argv;
	char *const *envp;
	struct span rlimits; /* for records_next_limit() */
	struct span filter;  /* struct sock_filter, one behind another; data NULL: no filter */
	uint32_t filter_flags;
	int agent_fd; /* a connected socket that gets the filter's listener; -1: there is none */
	struct span agent_message; /* what the agent is sent with it */
	const char *agent_path;	   /* for errors */
	int channel_fd; /* where a failure is reported, as libcontainer.init.sync does; -1: stderr
			 */
	struct span errno_texts; /* the texts of strerror(3), each with its NUL, from errno 0 on */
};

/* Execute the program. A failure is reported, and ends this process. */
_Noreturn void execution_run(const struct execution *execution);

#endif
