/* SPDX-License-Identifier: Apache-2.0 */
/* The root of the payload, and what is mounted in it. */
#ifndef NSX_ROOT_H
#define NSX_ROOT_H

#include "base/err.h"
#include "message/launch.h"

/* From here on, what is mounted and unmounted in this mount namespace reaches no other. */
int root_make_private(struct err *err);
/* In a new mount namespace: make the mounts that are asked for, and enter the root. */
int root_enter(const struct launch *launch, struct err *err);

/*
 * Returns a descriptor of an empty directory, in which nothing can be made and from which ".."
 * leads nowhere: it is the root of a file system that is not mounted anywhere. -errno if the
 * process may not mount.
 */
int root_make_empty(void);

/* The same for a process that is about to join another mount namespace. If a filter refuses the
 * calls that root_make_empty() makes, the directory is made by mount(2), in a mount namespace of
 * its own that the process enters for that. */
int root_make_empty_apart(void);

#endif
