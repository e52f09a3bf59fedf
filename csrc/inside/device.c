/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/device.h"

#include "base/descriptor.h"
#include "inside/mount_api.h"

static const char *const paths[DEVICES] = {
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
};
#define IN_DEV (sizeof("/dev/") - 1)

static const struct {
	const char *name;
	const char *target;
} links[] = {
	{ "fd", "/proc/self/fd" },	 { "stdin", "/proc/self/fd/0" },
	{ "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
	{ "ptmx", "pts/ptmx" },
};

int devices_open(struct devices *devices, struct err *err)
{
	const struct mount_change change = { .set = MOUNT_NO_SUID | MOUNT_NO_EXEC };

	for (int i = 0; i < DEVICES; i++) {
		OWNED_FD fd = mount_copy(paths[i], MOUNT_ALONE);
		long ret = fd < 0 ? fd : mount_change(fd, &change, MOUNT_ALONE);

		if (ret < 0)
			return err_set(err, "bind", paths[i], ret);
		devices->fds[i] = descriptor_give(&fd);
	}
	return 0;
}

/* Mount a device on a file that is made for it. */
static long place_device(int device_fd, const char *name, int dev)
{
	OWNED_FD device = device_fd;
	OWNED_FD file =
		(int)SYS4(SYS_openat, dev, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);

	return file < 0 ? file : mount_attach(device, file);
}

static long mount_pts(int dev)
{
	static const char options[] = "ptmxmode=666,mode=620";
	OWNED_FD at = -1, pts = -1;
	long ret;

	ret = SYS3(SYS_mkdirat, dev, "pts", 0755);
	if (ret < 0)
		return ret;
	at = sys_open_at(dev, "pts", O_PATH);
	if (at < 0)
		return at;
	pts = mount_new("devpts", (struct span){ options, sizeof(options) - 1 },
			MOUNT_NO_SUID | MOUNT_NO_EXEC);
	return pts < 0 ? pts : mount_attach(pts, at);
}

int devices_place(const struct devices *devices, int dev, struct err *err)
{
	long ret;

	for (int i = 0; i < DEVICES; i++) {
		ret = place_device(devices->fds[i], paths[i] + IN_DEV, dev);
		if (ret < 0)
			return err_set(err, "move_mount", paths[i], ret);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
		ret = SYS3(SYS_symlinkat, links[i].target, dev, links[i].name);
		if (ret < 0)
			return err_set(err, "symlink in a new /dev:", links[i].name, ret);
	}
	ret = SYS3(SYS_mkdirat, dev, "shm", 01777);
	if (ret < 0)
		return err_set(err, "mkdir", "/dev/shm", ret);
	ret = mount_pts(dev);
	return ret < 0 ? err_set(err, "mount", "a new /dev/pts", ret) : 0;
}
