/* SPDX-License-Identifier: Apache-2.0 */
#include "products/executable.h"

#include <linux/mount.h>
#include <sys/stat.h>

#include "base/descriptor.h"
#include "base/fallback.h"

/* Of Linux 6.3: MFD_EXEC, and F_SEAL_EXEC, which keeps the file executable. */
#define WITH_EXEC 0x10U
#define SEAL_MODE 0x20U

/* Make a read-only mount of the file alone; returns BY_PATH if this process may not mount. */
static int readonly_mount(const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	OWNED_FD fd = (int)SYS3(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0 || SYS5(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return BY_PATH;
	return descriptor_give(&fd);
}

static int make_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	long fd = SYS2(SYS_memfd_create, "python", flags | WITH_EXEC);

	if (fd == -EINVAL)
		fd = SYS2(SYS_memfd_create, "python", flags);
	return (int)fd;
}

static long seal(int fd)
{
	const unsigned seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	long ret = SYS3(SYS_fcntl, fd, F_ADD_SEALS, seals | SEAL_MODE);

	return ret < 0 ? SYS3(SYS_fcntl, fd, F_ADD_SEALS, seals) : ret;
}

/* Make a copy that nobody can change. */
static int sealed_copy(const char *path)
{
	OWNED_FD source = sys_open(path, O_RDONLY);
	OWNED_FD copy = make_memfd();
	long n;

	if (source < 0 || copy < 0)
		return UNPROTECTED;
	do
		n = SYS4(SYS_sendfile, copy, source, NULL, 1 << 30);
	while (n > 0);
	if (n < 0 || seal(copy) < 0)
		return UNPROTECTED;
	return descriptor_give(&copy);
}

/* Returns whether this process, and so a container of its user, could write to the file. Its owner
 * could, by changing its mode. */
static bool could_change(const char *path)
{
	struct stat st;

	return SYS4(SYS_faccessat, AT_FDCWD, path, W_OK, 0) == 0 ||
	       (SYS4(SYS_newfstatat, AT_FDCWD, path, &st, 0) == 0 &&
		st.st_uid == (uid_t)SYS0(SYS_geteuid));
}

int executable_open(const char *path)
{
	const int fd = readonly_mount(path);

	return fd == BY_PATH && could_change(path) ? sealed_copy(path) : fd;
}

long executable_run(const char *path, int fd, char *const *argv, char *const *envp)
{
	if (fd >= 0)
		return fallback_execute(fd, argv, envp);
	return SYS3(SYS_execve, path, argv, envp);
}
