/* SPDX-License-Identifier: Apache-2.0 */
/* The root of the payload, and what is mounted in it. */
#ifndef NSX_ROOT_H
#define NSX_ROOT_H

#include "base/err.h"
#include "message/launch.h"

/* From here on what is mounted in this mount namespace, and what is undone, stays here. */
int root_make_private(struct err *err);
/* In a new mount namespace: mount what is asked for, and have the root that is. */
int root_enter(const struct launch *launch, struct err *err);

/*
 * A descriptor of an empty directory, in which nothing can be made and from which ".." leads
 * nowhere: the root of a file system that is mounted nowhere. -errno if the process may not mount.
 */
long root_make_empty(void);

/* The same for a process that is about to join another mount namespace: if a filter refuses the
 * calls that this takes, the directory is made by mount(2), in a mount namespace of the process's
 * own. */
long root_make_empty_apart(void);

#endif
