/* SPDX-License-Identifier: Apache-2.0 */
/* The confinement steps: what stage 2 does between "in the namespaces" and the payload. */
#ifndef NSX_CONFINEMENT_H
#define NSX_CONFINEMENT_H

#include "base/err.h"
#include "message/launch.h"

/* The steps that require privileges: network, mounts and root, hostname, working directory. */
int confinement_prepare(const struct launch *launch, struct err *err);

/* The steps that give up rights for good: session, limits, ids, capabilities, Landlock. The filter
 * of system calls is not one of them: seccomp_install() comes last, because only the payload may
 * make system calls after it. */
int confinement_begin(const struct launch *launch, struct err *err);
/* Returns whether there is anything to do for confinement_begin() and seccomp_install(). */
bool confinement_is_asked(const struct launch *launch);

/* Leave the payload the descriptors on the launch message's list and no others: CLOSE_NOW closes
 * the others at once, CLOSE_RANGE_CLOEXEC at the execve(2). */
int confinement_keep_fds(struct span keep, unsigned flags, struct err *err);
/* Close at once each descriptor that is neither on the list nor one of `count` others, of which
 * some may be -1. */
int confinement_close_others(struct span keep, const int *others, size_t count, struct err *err);

/* Returns whether a new /proc is mounted. It shows the PID namespace of the process that mounts
 * it. */
bool confinement_mounts_proc(const struct launch *launch);

#endif
