/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/root.h"

#include <linux/magic.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/statfs.h>

#include "base/fallback.h"
#include "inside/mount_api.h"
#include "inside/mounts.h"

#define DETACH 2 /* umount2(2)'s MNT_DETACH, which is in libc's header alone */

/* A path that leads to what is mounted over the root; "/" leads to what is below. */
#define OVER_ROOT "/.."

int root_make_private(struct err *err)
{
	long ret = SYS5(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);

	return ret < 0 ? err_set(err, "mount", "/ as private", ret) : 0;
}

static const char of_empty[] = "size=4096,nr_inodes=1,mode=555";

long root_make_empty(void)
{
	return mount_new("tmpfs", (struct span){ of_empty, sizeof(of_empty) - 1 },
			 MOUNT_READ_ONLY | MOUNT_NO_SUID | MOUNT_NO_DEV | MOUNT_NO_EXEC);
}

/* Take away what was just mounted over the root; returns a descriptor of it. */
static long take_cover(void)
{
	struct statfs fs = { 0 };
	long fd = sys_open(OVER_ROOT, O_PATH | O_DIRECTORY);
	long ret = fd < 0 ? fd : SYS2(SYS_fstatfs, fd, &fs);

	if (fd < 0)
		return fd;
	if (ret == 0)
		ret = fs.f_type == TMPFS_MAGIC ? SYS2(SYS_umount2, OVER_ROOT, DETACH) : -ENOTSUP;
	if (ret < 0)
		sys_close((int)fd);
	return ret < 0 ? ret : fd;
}

long root_make_empty_apart(void)
{
	const unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
	long fd = root_make_empty();
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

static long set_read_only(int root, bool on)
{
	const struct mount_change change = { .set = on ? MOUNT_READ_ONLY : 0,
					     .clear = on ? 0 : MOUNT_READ_ONLY };

	return mount_change(root, &change, false);
}

/* A copy of a folder's tree. If it is to be read-only, what is mounted below it is already; itself
 * it is when the mount points have been made. */
static long copy_root(const struct launch *launch)
{
	const struct mount_change change = {
		.set = MOUNT_NO_SUID | MOUNT_NO_DEV | (launch->read_only ? MOUNT_READ_ONLY : 0),
		.propagation = MS_PRIVATE,
	};
	long root = mount_copy(launch->root.data, true);
	long ret = root < 0 ? root : mount_change((int)root, &change, true);

	if (ret < 0)
		return ret;
	/* Refused where it was so before, as a mount of an outer namespace. */
	if (launch->read_only)
		set_read_only((int)root, false);
	return root;
}

/* "tmpfs", or that and a comma and its options. */
static long new_root(struct span root)
{
	struct span options = root;
	struct span type;

	span_next(&options, ',', &type);
	if (options.len == 0)
		options = (struct span){ "mode=755", 8 };
	return mount_new("tmpfs", options, MOUNT_NO_SUID | MOUNT_NO_DEV);
}

static long choose_root(const struct launch *launch, const struct sources *sources)
{
	if (span_equals(launch->root, "tree"))
		return mounts_has_root(launch) ? sources->fds[0] : -EINVAL;
	return launch->root.data[0] == '/' ? copy_root(launch) : new_root(launch->root);
}

/* The new root, mounted where its file descriptor, and none of the caller's paths, leads to. */
static long make_root(const struct launch *launch, const struct sources *sources)
{
	long root = choose_root(launch, sources);
	long here = root < 0 ? root : sys_open("/", O_PATH | O_DIRECTORY);
	long ret = here < 0 ? here : mount_attach((int)root, (int)here);

	if (here >= 0)
		sys_close((int)here);
	return ret < 0 ? ret : root;
}

/* The old root comes to lie over the new one, and is taken away with all that is in it. `step` is
 * the call that failed. */
static long pivot(int root, const char **step)
{
	long old = sys_open("/", O_PATH | O_DIRECTORY);
	long ret = old;

	*step = "open";
	if (old >= 0) {
		*step = "fchdir";
		ret = SYS1(SYS_fchdir, root);
	}
	if (ret >= 0) {
		*step = "pivot_root";
		ret = SYS2(SYS_pivot_root, ".", ".");
	}
	if (ret == 0) {
		*step = "fchdir";
		ret = SYS1(SYS_fchdir, old);
	}
	if (ret == 0) {
		*step = "umount2";
		ret = SYS2(SYS_umount2, ".", DETACH);
	}
	if (ret == 0) {
		*step = "chdir";
		ret = SYS1(SYS_chdir, "/");
	}
	if (old >= 0)
		sys_close((int)old);
	return ret;
}

static int finish_root(const struct launch *launch, int root, struct err *err)
{
	long ret = launch->read_only ? set_read_only(root, true) : 0;
	const char *step;

	if (ret < 0)
		return err_set_span(err, "mount_setattr", launch->root, ret);
	ret = pivot(root, &step);
	return ret < 0 ? err_set_span(err, step, launch->root, ret) : 0;
}

int root_enter(const struct launch *launch, struct err *err)
{
	struct sources sources;
	bool is_new = launch->root.data;
	long mask, root;
	int result;

	if (!is_new && !launch->mounts.data)
		return 0;
	if (root_make_private(err) < 0 || mounts_open(launch->mounts, &sources, err) < 0)
		return -1;
	root = is_new ? make_root(launch, &sources) : sys_open("/", O_PATH | O_DIRECTORY);
	if (root < 0)
		return err_set_span(err, "mount the root", launch->root, root);
	mask = SYS1(SYS_umask, 0);
	result = mounts_place(launch, &sources, (int)root, err);
	SYS1(SYS_umask, mask);
	if (result == 0 && is_new)
		result = finish_root(launch, (int)root, err);
	sys_close((int)root);
	return result;
}
