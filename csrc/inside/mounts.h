/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts of the payload: binds, new file systems, a minimal /dev. */
#ifndef NSX_MOUNTS_H
#define NSX_MOUNTS_H

#include "base/err.h"
#include "message/launch.h"
#include "message/launch_lists.h"

/* What binds have for their source, as copies that are not mounted anywhere, and the trees that the
 * launcher has made; -1 for the others. */
struct sources {
	int fds[MOUNTS_MAX];
};

/* Open the sources while the caller's tree is what it was. `list`: for records_next_mount(). */
int mounts_open(struct span list, struct sources *sources, struct err *err);
/* Whether the first mount is the root: a tree that the launcher has made, whose target is "/". */
bool mounts_has_root(const struct launch *launch);

/* Mount all of a launch message below the directory `root`, in order, except for the root itself.
 * The sources are closed. */
int mounts_place(const struct launch *launch, const struct sources *sources, int root,
		 struct err *err);

/* The descriptors of the trees that the launcher has made: how many there are, at most
 * `MOUNTS_MAX`. */
size_t mounts_trees(struct span list, int *fds);

#endif
