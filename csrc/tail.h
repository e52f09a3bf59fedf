/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of stage 2: from "in the namespaces" to the payload. */
#ifndef NSX_TAIL_H
#define NSX_TAIL_H

#include "nsexec.h"

/* Hostname, /proc, working directory: what the launch message asks for. */
int tail_prepare(const struct nsexec *ns, struct err *err);

/* Leave the payload the descriptors on the launch message's list and no other: the rest are
 * closed, by `flags` 0 at once, by CLOSE_RANGE_CLOEXEC at the execve. */
int tail_keep_fds(struct span keep, unsigned flags, struct err *err);

/* Execute argv[0], found in PATH as execvp(3) does; returns only on failure. A payload of our
 * own launcher gets the descriptors on its list and no other. */
int tail_exec(const struct nsexec *ns, char *const *argv, char *const *envp, struct err *err);

#endif
