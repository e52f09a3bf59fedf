/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/mount_api.h"

#include <linux/openat2.h>

#include "base/sys.h"

/* linux/mount.h and linux/fcntl.h; including them next to libc's own headers is asking for it. */
#define OPEN_TREE_COPY	     1
#define AT_TREE		     0x8000
#define MOVE_FROM_EMPTY_PATH 0x4
#define MOVE_TO_EMPTY_PATH   0x40
#define CONFIG_SET_STRING    1
#define CONFIG_CREATE	     6
#define CLOSE_ON_EXEC	     1 /* of fsopen(2) and fsmount(2) */

#define TRIES 128 /* of a path in which somebody renames all the time */

long mount_copy(const char *path, bool recursive)
{
	return SYS3(SYS_open_tree, AT_FDCWD, path,
		    OPEN_TREE_COPY | O_CLOEXEC | (recursive ? AT_TREE : 0));
}

/* `name=value` */
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

/* Without bounds, whoever may write to a tmpfs can use up the machine's memory. Options of the
 * caller are set after these, and replace them. */
static long set_bounds(int fs, const char *type)
{
	static const char bounds[] = "size=67108864,nr_inodes=16384";
	struct span name = span_of(type);

	return span_equals(name, "tmpfs")
		       ? set_options(fs, (struct span){ bounds, sizeof(bounds) - 1 })
		       : 0;
}

static long configure(int fs, const char *type, struct span options)
{
	long ret = set_bounds(fs, type);

	if (ret == 0)
		ret = set_options(fs, options);
	return ret < 0 ? ret : SYS5(SYS_fsconfig, fs, CONFIG_CREATE, 0, 0, 0);
}

long mount_new(const char *type, struct span options, uint64_t attributes)
{
	long fs = SYS2(SYS_fsopen, type, CLOSE_ON_EXEC);
	long ret;

	if (fs < 0)
		return fs;
	/* What mountinfo has for its source. */
	ret = SYS5(SYS_fsconfig, fs, CONFIG_SET_STRING, "source", type, 0);
	if (ret == 0)
		ret = configure((int)fs, type, options);
	if (ret == 0)
		ret = SYS3(SYS_fsmount, fs, CLOSE_ON_EXEC, attributes);
	sys_close((int)fs);
	return ret;
}

long mount_change(int fd, const struct mount_change *change, bool recursive)
{
	return SYS5(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_TREE : 0), change,
		    sizeof(*change));
}

long mount_attach(int fd, int where)
{
	return SYS5(SYS_move_mount, fd, "", where, "", MOVE_FROM_EMPTY_PATH | MOVE_TO_EMPTY_PATH);
}

long open_below(int root, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd = -EAGAIN;

	for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
		fd = SYS4(SYS_openat2, root, path, &how, sizeof(how));
	return fd;
}

bool is_directory(int fd)
{
	long ret = SYS4(SYS_openat, fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	if (ret >= 0)
		sys_close((int)ret);
	return ret != -ENOTDIR; /* EACCES: it may not be searched */
}
