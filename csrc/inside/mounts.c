/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/mounts.h"

#include <limits.h>
#include <linux/mount.h>
#include <linux/openat2.h>

#include "base/descriptor.h"
#include "inside/device.h"
#include "inside/mount_api.h"

/* ---- sources ------------------------------------------------------------------------- */

/* Make a copy for the payload alone: what is mounted below its source later is not in it. */
static int copy_source(const struct mount_record *record)
{
	const struct mount_change change = {
		.set = MOUNT_NO_SUID | (record->devices ? 0 : MOUNT_NO_DEV) |
		       (record->writable ? 0 : MOUNT_READ_ONLY),
		.propagation = MS_PRIVATE,
	};
	OWNED_FD fd = mount_copy(record->argument.data, MOUNT_AND_BELOW);
	long ret = fd < 0 ? fd : mount_change(fd, &change, MOUNT_AND_BELOW);

	return ret < 0 ? (int)ret : descriptor_give(&fd);
}

int mounts_open(struct span list, struct sources *sources, struct err *err)
{
	struct mount_record record;

	for (int *fd = sources->fds; records_next_mount(&list, &record); fd++) {
		*fd = record.tree;
		if (record.kind != MOUNT_BIND)
			continue;
		*fd = copy_source(&record);
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

/* What a mount is attached to. */
enum mount_point { A_DIRECTORY, A_FILE };

static void make(int folder, const char *name, enum mount_point kind)
{
	const int flags = O_CREAT | O_EXCL | O_NOFOLLOW | O_WRONLY | O_CLOEXEC;
	OWNED_FD file = -1;

	if (kind == A_FILE)
		file = (int)SYS4(SYS_openat, folder, name, flags, 0644);
	else
		SYS3(SYS_mkdirat, folder, name, 0755);
}

/* Open the path `whole`, whose last name is `name`, below `root`; if it is missing, make it in
 * `folder` first. */
static int open_or_make(int root, int folder, const char *whole, const char *name,
			enum mount_point kind)
{
	const int fd = open_below(root, whole);

	if (fd != -ENOENT)
		return fd;
	make(folder, name, kind);
	return open_below(root, whole);
}

/* Returns the length of a name in a path. */
static size_t length_of_name(const char *name)
{
	size_t length = 0;

	while (name[length] && name[length] != '/')
		length++;
	return length;
}

/*
 * Open a path below `root`, and make what is missing of it. Each step is looked up by its whole
 * path, inside the root: somebody who changes directories of the root at the same time can only
 * have the mount point be at another place in the root. To look up each name in the directory of
 * the step before was considered: that directory can be moved out of the root meanwhile.
 */
static int open_making(int root, struct span path, enum mount_point kind)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);
	OWNED_FD folder = -1; /* the last step; -1: the root itself */
	char *name = buf;

	text_add_span(&t, path);
	if (t.len == t.cap)
		return -ENAMETOOLONG;
	text_end(&t);
	while (name < buf + t.len) {
		char *end = name + length_of_name(name);
		const bool is_last = *end == '\0';
		OWNED_FD above = -1;

		if (end != name) {
			*end = '\0';
			above = descriptor_give(&folder);
			folder = open_or_make(root, above < 0 ? root : above, buf, name,
					      is_last ? kind : A_DIRECTORY);
			if (folder < 0)
				return folder;
			*end = is_last ? '\0' : '/';
		}
		name = end + 1;
	}
	return folder < 0 ? -EINVAL : descriptor_give(&folder); /* the root must not be hidden */
}

static int open_target(int mount, const struct mount_record *record, int root)
{
	if (!record->makes_target)
		return open_below(root, record->target.data);
	return open_making(root, record->target, is_directory(mount) ? A_DIRECTORY : A_FILE);
}

static int place(int mount, const struct mount_record *record, int root, struct err *err)
{
	OWNED_FD at = open_target(mount, record, root);
	long ret;

	if (at < 0)
		return err_set_span(err, "open the mount point", record->target, at);
	ret = mount_attach(mount, at);
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

/* Returns the descriptor of a mount, which is `source` or a new one. */
static int make_mount(const struct launch *launch, const struct mount_record *record, int source)
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

static long write_file(const struct mount_record *record, int root)
{
	const struct open_how how = {
		.flags = O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	OWNED_FD made = open_making(root, record->target, A_FILE);
	OWNED_FD file = -1;

	if (made < 0)
		return made;
	file = (int)SYS4(SYS_openat2, root, record->target.data, &how, sizeof(how));
	if (file < 0)
		return file;
	return descriptor_write_all(file, record->argument.data, record->argument.len);
}

/* Make a file with a text. nsenter/mounts.py has checked that it is in a new file system. */
static int make_file(const struct mount_record *record, int root, struct err *err)
{
	const long ret = write_file(record, root);

	return ret < 0 ? err_set_span(err, "write the file", record->target, ret) : 0;
}

static int mount_one(const struct launch *launch, const struct mount_record *record, int source,
		     int root, struct err *err)
{
	const bool is_dev = record->kind == MOUNT_DEV;
	struct devices devices;
	OWNED_FD fd = -1;

	if (record->kind == MOUNT_FILE)
		return make_file(record, root, err);
	if (is_dev && devices_open(&devices, err) < 0)
		return -1;
	fd = make_mount(launch, record, source);
	if (fd < 0)
		return err_set_span(err, "mount", record->target, fd);
	if (place(fd, record, root, err) < 0)
		return -1;
	return is_dev ? devices_place(&devices, fd, err) : 0;
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
