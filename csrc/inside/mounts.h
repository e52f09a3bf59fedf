/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of the payload: binds, new file systems, a minimal /dev. */
#ifndef NSX_MOUNTS_H
#define NSX_MOUNTS_H

#include "base/err.h"
#include "message/launch.h"
#include "message/launch_lists.h"

/* For each mount that is a bind, a copy of its source, which is not mounted anywhere; for each tree
 * that the launcher has made, that tree; for the others, -1. */
struct sources {
	int fds[MOUNTS_MAX];
};

/* Open the sources, before the caller's tree changes. `list` is for records_next_mount(). */
int mounts_open(struct span list, struct sources *sources, struct err *err);
/* Returns whether the first mount is the root: a tree that the launcher has made, with "/" as its
 * target. */
bool mounts_has_root(const struct launch *launch);

/* Mount all that a launch message lists below the directory `root`, in its order, except for the
 * root itself. The sources are closed. */
int mounts_place(const struct launch *launch, const struct sources *sources, int root,
		 struct err *err);

/* Fill in the descriptors of the trees that the launcher has made; returns how many there are, at
 * most `MOUNTS_MAX`. */
size_t mounts_trees(struct span list, int *fds);

#endif
