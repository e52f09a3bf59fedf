/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/root.h"

#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/statfs.h>

#include "base/descriptor.h"
#include "base/fallback.h"
#include "inside/mount_api.h"
#include "inside/mounts.h"

#define DETACH 2 /* MNT_DETACH of umount2(2), which only a header of libc has */

/* A path that leads to what was mounted over the root. "/" leads to the root that it hides. */
#define OVER_ROOT "/.."

int root_make_private(struct err *err)
{
	long ret = SYS5(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);

	return ret < 0 ? err_set(err, "mount", "/ as private", ret) : 0;
}

static const char of_empty[] = "size=4096,nr_inodes=1,mode=555";

int root_make_empty(void)
{
	return mount_new("tmpfs", (struct span){ of_empty, sizeof(of_empty) - 1 },
			 MOUNT_READ_ONLY | MOUNT_NO_SUID | MOUNT_NO_DEV | MOUNT_NO_EXEC);
}

/* Unmount the tmpfs that was just mounted over the root; returns a descriptor of it. */
static int take_cover(void)
{
	OWNED_FD fd = sys_open(OVER_ROOT, O_PATH | O_DIRECTORY);
	struct statfs fs = { 0 };
	long ret;

	if (fd < 0)
		return fd;
	ret = SYS2(SYS_fstatfs, fd, &fs);
	if (ret == 0)
		ret = fs.f_type == TMPFS_MAGIC ? SYS2(SYS_umount2, OVER_ROOT, DETACH) : -ENOTSUP;
	return ret < 0 ? (int)ret : descriptor_give(&fd);
}

int root_make_empty_apart(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	const int fd = root_make_empty();
	long ret;
	struct err err;

	if (!is_refused(fd))
		return fd;
	ret = SYS1(SYS_unshare, CLONE_NEWNS);
	if (ret == 0 && root_make_private(&err) < 0)
		ret = -err.errnum;
	if (ret == 0)
		ret = SYS5(SYS_mount, "tmpfs", "/", "tmpfs", flags, of_empty);
	return ret < 0 ? fd : take_cover();
}

static long make_read_only(int root)
{
	const struct mount_change change = { .set = MOUNT_READ_ONLY };

	return mount_change(root, &change, MOUNT_ALONE);
}

static long make_writable(int root)
{
	const struct mount_change change = { .clear = MOUNT_READ_ONLY };

	return mount_change(root, &change, MOUNT_ALONE);
}

/* Copy a directory and what is mounted below it. If the root is to be read-only, what is mounted
 * below it is read-only at once. The root itself is so when the mount points have been made. */
static int copy_root(const struct launch *launch)
{
	const struct mount_change change = {
		.set = MOUNT_NO_SUID | MOUNT_NO_DEV | (launch->read_only ? MOUNT_READ_ONLY : 0),
		.propagation = MS_PRIVATE,
	};
	OWNED_FD root = mount_copy(launch->root.data, MOUNT_AND_BELOW);
	long ret = root < 0 ? root : mount_change(root, &change, MOUNT_AND_BELOW);

	if (ret < 0)
		return (int)ret;
	/* This fails if it was read-only in an outer namespace, which locks that. Then the mount
	 * points must be there. */
	if (launch->read_only)
		make_writable(root);
	return descriptor_give(&root);
}

/* Make a root of "tmpfs", or "tmpfs,OPTIONS". */
static int new_root(struct span root)
{
	struct span options = root;
	struct span type;

	span_next(&options, ',', &type);
	if (options.len == 0)
		options = (struct span){ "mode=755", 8 };
	return mount_new("tmpfs", options, MOUNT_NO_SUID | MOUNT_NO_DEV);
}

/* Open or make the new root, as the launch message says. */
static int choose_root(const struct launch *launch, const struct sources *sources)
{
	if (span_equals(launch->root, "tree"))
		return mounts_has_root(launch) ? sources->fds[0] : -EINVAL;
	return launch->root.data[0] == '/' ? copy_root(launch) : new_root(launch->root);
}

/* Make the new root, and mount it over the old one: pivot_root(2) requires a mount point. Paths
 * still lead to the old root then; the descriptor that is returned leads to the new one. */
static int make_root(const struct launch *launch, const struct sources *sources)
{
	OWNED_FD root = choose_root(launch, sources);
	OWNED_FD here = root < 0 ? root : sys_open("/", O_PATH | O_DIRECTORY);
	long ret = here < 0 ? here : mount_attach(root, here);

	return ret < 0 ? (int)ret : descriptor_give(&root);
}

/*
 * pivot_root(".", ".") mounts the old root over the new one, at the same place, so that no
 * directory is needed to put it in (pivot_root(2)). Then it is unmounted, with all that is in it.
 * `step` gets the call that failed.
 */
static long pivot(int root, const char **step)
{
	OWNED_FD old = sys_open("/", O_PATH | O_DIRECTORY);
	long ret;

	*step = "open";
	if (old < 0)
		return old;
	*step = "fchdir";
	ret = SYS1(SYS_fchdir, root);
	if (ret < 0)
		return ret;
	*step = "pivot_root";
	ret = SYS2(SYS_pivot_root, ".", ".");
	if (ret < 0)
		return ret;
	*step = "fchdir";
	ret = SYS1(SYS_fchdir, old);
	if (ret < 0)
		return ret;
	*step = "umount2";
	ret = SYS2(SYS_umount2, ".", DETACH);
	if (ret < 0)
		return ret;
	*step = "chdir";
	return SYS1(SYS_chdir, "/");
}

static int finish_root(const struct launch *launch, int root, struct err *err)
{
	long ret = launch->read_only ? make_read_only(root) : 0;
	const char *step;

	if (ret < 0)
		return err_set_span(err, "mount_setattr", launch->root, ret);
	ret = pivot(root, &step);
	return ret < 0 ? err_set_span(err, step, launch->root, ret) : 0;
}

int root_enter(const struct launch *launch, struct err *err)
{
	const bool is_new = launch->root.data;
	struct sources sources;
	OWNED_FD root = -1;
	int result;
	long mask;

	if (!is_new && !launch->mounts.data)
		return 0;
	if (root_make_private(err) < 0 || mounts_open(launch->mounts, &sources, err) < 0)
		return -1;
	root = is_new ? make_root(launch, &sources) : sys_open("/", O_PATH | O_DIRECTORY);
	if (root < 0)
		return err_set_span(err, "mount the root", launch->root, root);
	mask = SYS1(SYS_umask, 0);
	result = mounts_place(launch, &sources, root, err);
	SYS1(SYS_umask, mask);
	if (result == 0 && is_new)
		result = finish_root(launch, root, err);
	return result;
}
