/* SPDX-License-Identifier: Apache-2.0 */
/* Making a process, as fork(2) does, with the flags and extras of clone3(2). */
#ifndef NSX_CLONE_H
#define NSX_CLONE_H

#include "sys.h"

struct clone_request {
	uint64_t flags; /* CLONE_*; without CLONE_PARENT, SIGCHLD tells the end */
	int cgroup_fd;	/* CLONE_INTO_CGROUP, or without clone3(2) the caller goes there as well;
			 * -1: the caller's cgroup */
	int *pidfd;	/* CLONE_PIDFD; NULL: none */
	int *thread_id; /* where libc keeps the thread's id, to be set anew; NULL: nowhere */
};

/* The child's pid, 0 in the child, or -errno. */
long process_clone(const struct clone_request *request);

#endif
