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
	int channel_fd; /* where a failure is told, as libcontainer.init.sync; -1: standard error */
	struct span errno_texts; /* strerror(3)'s texts, each with its NUL, from errno 0 on */
};

/* Execute the program. What fails is told, and ends this process. */
_Noreturn void execution_run(const struct execution *execution);

#endif
