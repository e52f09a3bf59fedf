/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of stage 2, between "in the namespaces" and the payload. */
#ifndef NSX_CONFINEMENT_H
#define NSX_CONFINEMENT_H

#include "base/err.h"
#include "message/launch.h"

/* What takes privileges: network, mounts and root, hostname, working directory. */
int confinement_prepare(const struct launch *launch, struct err *err);

/* What the payload is to have of its own and what it gives up for good: session, limits, ids,
 * capabilities, Landlock. The filter of system calls is not in it: seccomp_install() comes last,
 * when nothing but the payload is to make any. */
int confinement_begin(const struct launch *launch, struct err *err);
/* Whether there is anything to do for the two. */
bool confinement_is_asked(const struct launch *launch);

/* Leave the payload the descriptors on the launch message's list and no other: the rest are
 * closed, by `flags` 0 at once, by CLOSE_RANGE_CLOEXEC at the execve. */
int confinement_keep_fds(struct span keep, unsigned flags, struct err *err);
/* Close at once what is neither on the list nor one of `count` others, of which some may be -1. */
int confinement_close_others(struct span keep, const int *others, size_t count, struct err *err);

/* Whether a new /proc is mounted, which shows the PID namespace of the process that mounts it. */
bool confinement_mounts_proc(const struct launch *launch);

#endif
