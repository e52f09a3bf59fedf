/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts by descriptors (open_tree(2), fsmount(2), move_mount(2), mount_setattr(2)): a mount is
 * made detached, and put where a descriptor is. Functions return a descriptor, 0, or -errno.
 */
#ifndef NSX_MOUNT_API_H
#define NSX_MOUNT_API_H

#include "base/text.h"

/* linux/mount.h, of which the headers of a distribution have an older version. */
#define MOUNT_READ_ONLY 0x1
#define MOUNT_NO_SUID	0x2
#define MOUNT_NO_DEV	0x4
#define MOUNT_NO_EXEC	0x8

struct mount_change {
	uint64_t set;
	uint64_t clear;
	uint64_t propagation;
	uint64_t user_namespace;
};

/* A copy of the tree of mounts at `path`, with those below it where it is `recursive`. */
long mount_copy(const char *path, bool recursive);
/* A new file system; `options` are `name=value`, with commas between. */
long mount_new(const char *type, struct span options, uint64_t attributes);
/* Change a mount, and those below it where it is `recursive`. */
long mount_change(int fd, const struct mount_change *change, bool recursive);
/* Put a detached mount onto what a descriptor is of. */
long mount_attach(int fd, int where);

/* Open `path` below the directory `root`, whatever symbolic links lead out of it; O_PATH. */
long open_below(int root, const char *path);
bool is_directory(int fd);

#endif
