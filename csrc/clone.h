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

/* What the calling process does when its child has taken over. */
typedef void clone_rest(long pid, void *context);

/*
 * Make a child that goes on in the place of the calling process: with its memory and its stack, of
 * which nothing is copied. Returns 0 in the child, or -errno where there is none (-ENOSYS: it
 * cannot be done here).
 *
 * The calling process goes on by `rest`, on another stack, and must exit in it. Until then both
 * have the same memory. So `rest` may write to its own stack and to `context` alone, may call
 * nothing of libc, whose state is the child's now, and the child must not touch `context`.
 */
long process_clone_in_place(const struct clone_request *request, void *stack_top, clone_rest *rest,
			    void *context);

#endif
