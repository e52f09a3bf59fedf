/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of stage 2, between "in the namespaces" and the payload. */
#ifndef NSX_TAIL_H
#define NSX_TAIL_H

#include "err.h"
#include "launch.h"

/* Hostname, /proc, working directory: what the launch message asks for. */
int tail_prepare(const struct launch *launch, struct err *err);

/* Leave the payload the descriptors on the launch message's list and no other: the rest are
 * closed, by `flags` 0 at once, by CLOSE_RANGE_CLOEXEC at the execve. */
int tail_keep_fds(struct span keep, unsigned flags, struct err *err);

#endif
