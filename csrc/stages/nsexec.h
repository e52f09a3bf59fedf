/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bootstrap, which leads from a process that has a message on its init pipe to one that is in
 * the namespaces that the message asks for. The processes on the way are called stages, as in runc:
 *
 *   0 PARENT  reads the message, writes the id maps, tells the caller the pids
 *   1 CHILD   joins and unshares
 *   2 INIT    is in every namespace; the caller's payload takes over in it
 *
 * Stages 1 and 2 are made with CLONE_PARENT, so all three are children of the caller.
 */
#ifndef NSX_NSEXEC_H
#define NSX_NSEXEC_H

#include "message/bootstrap.h"
#include "message/launch.h"
#include "stages/report.h"

/* How stage 2 takes over the memory of stage 0, which no longer needs it: base/clone.h. */
struct take_over {
	void *stack_top;      /* the stack that stage 0 uses from then on */
	bool (*leave)(void);  /* called before; returns false if the memory must be copied */
	void (*arrive)(void); /* called in stage 2 */
};

struct nsexec {
	int init_fd;
	bool is_1_2; /* the parent is runc from 1.2 on, as it says or as init_pipe_hello() finds out
		      */
	struct span mount_fds; /* "[-1,7]": where runc up to 1.1 wants its mount sources */
	bool launched;	       /* our own launcher is the parent; it sends a second message */
	struct report report;
	struct bootstrap boot;
	struct launch launch;
	struct sys_sigaction sigpipe; /* what SIGPIPE did before nsexec() */
	/*
	 * The product's steps in the namespaces that require privileges; NULL:
	 * confinement_prepare(). Stage 1 does them if processes of a joined PID namespace can see
	 * stage 2, which then has neither the privileges nor anything that names a place of the
	 * host. Else stage 2 does.
	 */
	int (*arrive)(struct nsexec *ns, struct err *err);
	bool arrived;
	bool boots;   /* an interpreter boots in stage 2, in an empty directory */
	int place;    /* that directory, if it is made before a mount namespace is joined; or -1 */
	bool settled; /* gain_root() has been called */
	int *thread_id; /* where libc keeps the thread's id; NULL: libc is not used */
	bool took_over; /* this stage 2 has taken over the memory of stage 0 */
	const struct take_over *take_over; /* NULL: the stages are copies, as fork(2) makes them */
};

/* Returns whether a variable, "NAME=value", is for nsexec, so that our payload must not see it. */
bool nsexec_reads(const char *variable);

/* Fill in `ns` from the environment. Returns false if that names no init pipe, or is wrong. */
bool nsexec_from_environment(struct nsexec *ns, char *const *envp, struct err *err);

/* Go through the stages. Only stage 2 returns. A stage that fails reports why, and exits. */
void nsexec(struct nsexec *ns);

/* In stage 2, before nsexec_arrive(): close at once each descriptor that neither nsexec_arrive()
 * nor the payload needs. If stage 1 has arrived, it has closed them. */
int nsexec_cut(const struct nsexec *ns, struct err *err);
/* In stage 2: take the steps of `arrive`, unless stage 1 has taken them. */
int nsexec_arrive(struct nsexec *ns, struct err *err);

/* Restore the signal dispositions for the payload, after the last report. */
void nsexec_restore_signals(const struct nsexec *ns);

/* Report an error of this stage, and exit. */
_Noreturn void nsexec_fail(const struct nsexec *ns, const struct err *err);

#endif
