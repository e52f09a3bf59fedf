/* SPDX-License-Identifier: Apache-2.0 */
/* Making a process, as fork(2) does, with the flags and extras of clone3(2). */
#ifndef NSX_CLONE_H
#define NSX_CLONE_H

#include "base/sys.h"

struct clone_request {
	uint64_t flags; /* CLONE_*. Without CLONE_PARENT, the parent gets SIGCHLD at the end. */
	/* The child is born in this cgroup (CLONE_INTO_CGROUP). Without clone3(2), the calling
	 * process moves there as well. -1: the child is born in the cgroup of the caller. */
	int cgroup_fd;
	int *pidfd;	/* gets a pidfd of the child (CLONE_PIDFD); NULL: none is made */
	int *thread_id; /* where libc keeps the thread's id, which the kernel sets; NULL: nowhere */
};

/* Returns the child's pid, 0 in the child, or -errno. */
long process_clone(const struct clone_request *request);

/* The code that the calling process runs after its child has taken over. */
typedef void clone_rest(long pid, void *context);

/*
 * Make a child that continues with the memory and the stack of the calling process, without a copy
 * of either. Returns 0 in the child, or -errno if no child was made (-ENOSYS: this is not possible
 * here).
 *
 * The calling process runs `rest` on another stack, and must exit there. Until then, both processes
 * have the same memory. So `rest` may only write to its own stack and to `context`, and must not
 * call libc, whose state belongs to the child. The child must not access `context`.
 */
long process_clone_in_place(const struct clone_request *request, void *stack_top, clone_rest *rest,
			    void *context);

#endif
