/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/mounts.h"

#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include "base/sys.h"
#include "inside/device.h"
#include "inside/mount_api.h"

/* ---- sources ------------------------------------------------------------------------- */

/* A copy for the payload alone: what is mounted in its source later does not come along. */
static long copy_source(const struct mount_record *record)
{
	const struct mount_change change = {
		.set = MOUNT_NO_SUID | (record->devices ? 0 : MOUNT_NO_DEV) |
		       (record->writable ? 0 : MOUNT_READ_ONLY),
		.propagation = MS_PRIVATE,
	};
	long fd = mount_copy(record->argument.data, true);
	long ret = fd < 0 ? fd : mount_change((int)fd, &change, true);

	return ret < 0 ? ret : fd;
}

int mounts_open(struct span list, struct sources *sources, struct err *err)
{
	struct mount_record record;

	for (int *fd = sources->fds; records_next_mount(&list, &record); fd++) {
		*fd = record.tree;
		if (record.kind != MOUNT_BIND)
			continue;
		*fd = (int)copy_source(&record);
		if (*fd < 0)
			return err_set_span(err, "bind", record.argument, *fd);
	}
	return 0;
}

size_t mounts_trees(struct span list, int *fds)
{
	struct mount_record record;
	size_t count = 0;

	while (records_next_mount(&list, &record))
		if (record.kind == MOUNT_TREE)
			fds[count++] = record.tree;
	return count;
}

/* ---- mount points -------------------------------------------------------------------- */

static void make(int folder, const char *name, bool is_file)
{
	const int flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC;
	long fd;

	if (!is_file) {
		SYS3(SYS_mkdirat, folder, name, 0755);
		return;
	}
	fd = SYS4(SYS_openat, folder, name, flags, 0644);
	if (fd >= 0)
		sys_close((int)fd);
}

/* Open a path below `root`, making what is missing of it. Whoever changes the root meanwhile can
 * only have it end elsewhere in the root: each step is opened by its whole path. */
static long open_making(int root, struct span path, bool is_file)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);
	size_t start = 0;
	int folder = root;
	long fd = root;

	text_add_span(&t, path);
	if (t.len == t.cap)
		return -ENAMETOOLONG;
	text_end(&t);
	while (start < t.len) {
		size_t end = start;
		bool is_last;

		while (end < t.len && buf[end] != '/')
			end++;
		is_last = end == t.len;
		buf[end] = '\0';
		fd = end == start ? folder : open_below(root, buf);
		if (fd == -ENOENT) {
			make(folder, buf + start, is_file && is_last);
			fd = open_below(root, buf);
		}
		if (!is_last)
			buf[end] = '/';
		if (folder != root && fd != folder)
			sys_close(folder);
		if (fd < 0)
			return fd;
		folder = (int)fd;
		start = end + 1;
	}
	return fd == root ? -EINVAL : fd; /* which is not to be mounted over */
}

static int place(int mount, const struct mount_record *record, int root, struct err *err)
{
	long at = record->makes_target ? open_making(root, record->target, !is_directory(mount))
				       : open_below(root, record->target.data);
	long ret;

	if (at < 0)
		return err_set_span(err, "open the mount point", record->target, at);
	ret = mount_attach(mount, (int)at);
	sys_close((int)at);
	return ret < 0 ? err_set_span(err, "move_mount", record->target, ret) : 0;
}

bool mounts_has_root(const struct launch *launch)
{
	struct span list = launch->mounts;
	struct mount_record record;

	return records_next_mount(&list, &record) && record.kind == MOUNT_TREE &&
	       span_equals(record.target, "/");
}

/* ---- all of them --------------------------------------------------------------------- */

static long make_mount(const struct launch *launch, const struct mount_record *record, int source)
{
	const struct span none = { "", 0 };

	switch (record->kind) {
	case MOUNT_BIND:
	case MOUNT_TREE:
		return source;
	case MOUNT_TMPFS:
		return mount_new("tmpfs", record->argument, MOUNT_NO_SUID | MOUNT_NO_DEV);
	case MOUNT_PROC:
		return mount_new("proc", launch->proc_options,
				 MOUNT_NO_SUID | MOUNT_NO_DEV | MOUNT_NO_EXEC);
	case MOUNT_SYSFS:
		return mount_new("sysfs", none,
				 MOUNT_NO_SUID | MOUNT_NO_DEV | MOUNT_NO_EXEC |
					 (record->writable ? 0 : MOUNT_READ_ONLY));
	case MOUNT_DEV:
		return mount_new("tmpfs", record->argument, MOUNT_NO_SUID | MOUNT_NO_EXEC);
	case MOUNT_FILE:
		break;
	}
	return -EINVAL;
}

static long write_text(int fd, struct span text)
{
	long ret = 0;

	while (ret >= 0 && text.len) {
		ret = sys_write(fd, text.data, text.len);
		if (ret > 0)
			text = (struct span){ text.data + ret, text.len - (size_t)ret };
	}
	return ret;
}

/* Make a file with a text. nsenter/mounts.py has checked that it is in a new file system. */
static int make_file(const struct mount_record *record, int root, struct err *err)
{
	const struct open_how how = {
		.flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long at = open_making(root, record->target, true);
	long ret = at;

	if (at >= 0) {
		sys_close((int)at);
		at = SYS4(SYS_openat2, root, record->target.data, &how, sizeof(how));
		ret = at < 0 ? at : write_text((int)at, record->argument);
	}
	if (at >= 0)
		sys_close((int)at);
	return ret < 0 ? err_set_span(err, "write the file", record->target, ret) : 0;
}

static int mount_one(const struct launch *launch, const struct mount_record *record, int source,
		     int root, struct err *err)
{
	struct devices devices;
	bool is_dev = record->kind == MOUNT_DEV;
	long fd;
	int result;

	if (record->kind == MOUNT_FILE)
		return make_file(record, root, err);
	if (is_dev && devices_open(&devices, err) < 0)
		return -1;
	fd = make_mount(launch, record, source);
	if (fd < 0)
		return err_set_span(err, "mount", record->target, fd);
	result = place((int)fd, record, root, err);
	if (result == 0 && is_dev)
		result = devices_place(&devices, (int)fd, err);
	sys_close((int)fd);
	return result;
}

int mounts_place(const struct launch *launch, const struct sources *sources, int root,
		 struct err *err)
{
	struct span list = launch->mounts;
	struct mount_record record;

	for (const int *fd = sources->fds; records_next_mount(&list, &record); fd++) {
		if (*fd == root)
			continue;
		if (mount_one(launch, &record, *fd, root, err) < 0)
			return -1;
	}
	return 0;
}
