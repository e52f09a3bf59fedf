/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts by descriptors (open_tree(2), fsmount(2), move_mount(2), mount_setattr(2)). A mount is
 * made without a place, and then attached to what a descriptor refers to: no path is looked up that
 * somebody could change meanwhile. The functions return a descriptor, 0, or -errno.
 */
#ifndef NSX_MOUNT_API_H
#define NSX_MOUNT_API_H

#include "base/text.h"

/* From linux/mount.h, of which a distribution may have an older version. */
#define MOUNT_READ_ONLY	    0x1
#define MOUNT_NO_SUID	    0x2
#define MOUNT_NO_DEV	    0x4
#define MOUNT_NO_EXEC	    0x8
#define NO_MOUNT_ATTRIBUTES 0

struct mount_change {
	uint64_t set;
	uint64_t clear;
	uint64_t propagation;
	uint64_t user_namespace;
};

/* What a function works on. */
enum mount_reach {
	MOUNT_ALONE,	/* a mount */
	MOUNT_AND_BELOW /* a mount and all that are mounted below it */
};

/* Copy what is mounted at `path`. */
int mount_copy(const char *path, enum mount_reach reach);
/* Make a new file system; `options` are "name=value", separated by commas. */
int mount_new(const char *type, struct span options, uint64_t attributes);
long mount_change(int fd, const struct mount_change *change, enum mount_reach reach);
/* Attach a mount to what the descriptor `where` refers to. */
long mount_attach(int fd, int where);

/* Open `path` below the directory `root` with O_PATH. No symbolic link leads out of the root. */
int open_below(int root, const char *path);
bool is_directory(int fd);

#endif
