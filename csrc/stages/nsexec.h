/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bootstrap: from one process with a message on its init pipe to one in the namespaces
 * asked for. The processes that are passed through on the way are called stages, as in runc:
 *
 *   0 PARENT  reads the message, writes the id maps, tells the caller the pids
 *   1 CHILD   joins and unshares
 *   2 INIT    is in every namespace; the caller's payload takes over in it
 *
 * Stages 1 and 2 are made with CLONE_PARENT: all three are children of the caller.
 */
#ifndef NSX_NSEXEC_H
#define NSX_NSEXEC_H

#include "message/bootstrap.h"
#include "message/launch.h"
#include "stages/report.h"

/* How stage 2 takes over the memory of stage 0, which does not need it any more: base/clone.h. */
struct take_over {
	void *stack_top;      /* the stack that stage 0 uses from then on */
	bool (*leave)(void);  /* called before; returns false if the memory must be copied */
	void (*arrive)(void); /* called in stage 2 */
};

struct nsexec {
	int init_fd;
	bool is_1_2; /* the parent says that it is runc from 1.2 on; found out if it is not said */
	struct span mount_fds; /* "[-1,7]": where runc up to 1.1 wants its mount sources */
	bool launched;	       /* by our own launcher, which sends a second message */
	struct report report;
	struct bootstrap boot;
	struct launch launch;
	struct sys_sigaction sigpipe; /* as it was before nsexec() */
	/*
	 * The product's steps in the namespaces that require privileges; NULL:
	 * confinement_prepare(). Stage 1 does them if processes of a joined PID namespace can see
	 * stage 2, which then has neither the privileges nor anything that names a place of the
	 * host. Else stage 2 does.
	 */
	int (*arrive)(struct nsexec *ns, struct err *err);
	bool arrived;
	bool boots;	/* an interpreter boots in stage 2, in an empty place */
	int place;	/* which is made before a mount namespace is joined; -1: not yet */
	bool settled;	/* ids and cgroup namespace are as they should be */
	int *thread_id; /* where libc keeps the thread's id, if libc will go on to be used */
	bool took_over; /* whether this stage 2 has */
	const struct take_over *take_over; /* NULL: the stages are copies, as fork(2) makes them */
};

/* Whether a `NAME=value` is one that this reads, and that our payload must not see. */
bool nsexec_reads(const char *variable);

/* Fill in `ns` from the environment. False where there is no init pipe in it. */
bool nsexec_from_environment(struct nsexec *ns, char *const *envp, struct err *err);

/* Go through the stages. Returns in stage 2 only; a stage that fails reports why and exits. */
void nsexec(struct nsexec *ns);

/* In stage 2, before nsexec_arrive(): close at once what neither that nor the payload needs. Stage
 * 1 has done it if it has done what `arrive` says. */
int nsexec_cut(const struct nsexec *ns, struct err *err);
/* In stage 2: do what `arrive` says unless stage 1 has. */
int nsexec_arrive(struct nsexec *ns, struct err *err);

/* Give the payload the signal dispositions that it would have had: behind the last report. */
void nsexec_restore_signals(const struct nsexec *ns);

/* Report `err` as this stage's and exit. */
_Noreturn void nsexec_fail(const struct nsexec *ns, const struct err *err);

#endif
