/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/mount_api.h"

#include <linux/openat2.h>

#include "base/descriptor.h"

/* From linux/mount.h and linux/fcntl.h. They are not included, because they and libc's own headers
 * define the same names. */
#define OPEN_TREE_COPY	     1
#define AT_TREE		     0x8000
#define MOVE_FROM_EMPTY_PATH 0x4
#define MOVE_TO_EMPTY_PATH   0x40
#define CONFIG_SET_STRING    1
#define CONFIG_CREATE	     6
#define CLOSE_ON_EXEC	     1 /* of fsopen(2) and fsmount(2) */

/* How often a path is looked up before giving up: the kernel gives EAGAIN if somebody renames a
 * directory in it at the same time, and an enemy may do so all the time. */
#define TRIES 128

static unsigned tree_flag(enum mount_reach reach)
{
	return reach == MOUNT_AND_BELOW ? AT_TREE : 0;
}

int mount_copy(const char *path, enum mount_reach reach)
{
	return (int)SYS3(SYS_open_tree, AT_FDCWD, path,
			 OPEN_TREE_COPY | O_CLOEXEC | tree_flag(reach));
}

/* Set an option, "name=value". */
static long set_option(int fs, struct span option)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	struct span name;

	span_next(&option, '=', &name);
	text_add_span(&t, name);
	text_add_span(&t, (struct span){ "", 1 });
	text_add_span(&t, option);
	if (t.len == t.cap)
		return -EINVAL;
	text_end(&t);
	return SYS5(SYS_fsconfig, fs, CONFIG_SET_STRING, buf, buf + name.len + 1, 0);
}

static long set_options(int fs, struct span options)
{
	struct span option;
	long ret = 0;

	while (ret == 0 && span_next(&options, ',', &option))
		ret = set_option(fs, option);
	return ret;
}

/* Without bounds, a payload that may write to a tmpfs can use up the machine's memory. Options of
 * the caller are set after these, and replace them. */
static long set_bounds(int fs, const char *type)
{
	static const char bounds[] = "size=67108864,nr_inodes=16384";

	if (!span_equals(span_of(type), "tmpfs"))
		return 0;
	return set_options(fs, (struct span){ bounds, sizeof(bounds) - 1 });
}

static long configure(int fs, const char *type, struct span options)
{
	long ret = set_bounds(fs, type);

	if (ret == 0)
		ret = set_options(fs, options);
	return ret < 0 ? ret : SYS5(SYS_fsconfig, fs, CONFIG_CREATE, 0, 0, 0);
}

int mount_new(const char *type, struct span options, uint64_t attributes)
{
	OWNED_FD fs = (int)SYS2(SYS_fsopen, type, CLOSE_ON_EXEC);
	long ret;

	if (fs < 0)
		return fs;
	/* /proc/self/mountinfo shows it as the source of the mount. */
	ret = SYS5(SYS_fsconfig, fs, CONFIG_SET_STRING, "source", type, 0);
	if (ret == 0)
		ret = configure(fs, type, options);
	if (ret == 0)
		ret = SYS3(SYS_fsmount, fs, CLOSE_ON_EXEC, attributes);
	return (int)ret;
}

long mount_change(int fd, const struct mount_change *change, enum mount_reach reach)
{
	return SYS5(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | tree_flag(reach), change,
		    sizeof(*change));
}

long mount_attach(int fd, int where)
{
	return SYS5(SYS_move_mount, fd, "", where, "", MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH);
}

int open_below(int root, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -EAGAIN;

	for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
		fd = SYS4(SYS_openat2, root, path, &how, sizeof(how));
	return (int)fd;
}

bool is_directory(int fd)
{
	OWNED_FD itself = sys_open_at(fd, ".", O_PATH | O_DIRECTORY);

	return itself != -ENOTDIR; /* EACCES: a directory that may not be searched */
}
