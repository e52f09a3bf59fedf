/* SPDX-License-Identifier: Apache-2.0 */
#include "tail.h"

#include <limits.h>
#include <sys/mount.h>

#include "sys.h"

static int set_hostname(struct span name, struct err *err)
{
	long ret;

	if (!name.data)
		return 0;
	ret = SYS2(SYS_sethostname, name.data, name.len);
	return ret < 0 ? err_set_span(err, "sethostname", name, ret) : 0;
}

/* A /proc of the new pid namespace over the one that was there, in this mount namespace only. */
static int mount_proc(struct err *err)
{
	long ret = SYS5(SYS_mount, "none", "/", 0, MS_REC | MS_PRIVATE, 0);

	if (ret < 0)
		return err_set(err, "mount", "/ as private", ret);
	ret = SYS5(SYS_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
	return ret < 0 ? err_set(err, "mount", "proc on /proc", ret) : 0;
}

/* A directory outside the root that a descriptor leads to is no place to start in
 * (CVE-2024-21626): the kernel then says "(unreachable)…" or ENOENT. */
static int change_directory(struct span path, struct err *err)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);
	long ret;

	if (!path.data)
		return 0;
	text_add_span(&t, path);
	ret = t.cut ? -ENAMETOOLONG : SYS1(SYS_chdir, text_end(&t));
	if (ret < 0)
		return err_set_span(err, "chdir", path, ret);
	ret = SYS2(SYS_getcwd, buf, sizeof(buf));
	if (ret < 0 || buf[0] != '/')
		return err_set_span(err, "getcwd: outside the root:", path,
				    ret < 0 ? ret : -ENOENT);
	return 0;
}

int tail_prepare(const struct launch *launch, struct err *err)
{
	if (set_hostname(launch->hostname, err) < 0)
		return -1;
	if (launch->mount_proc && mount_proc(err) < 0)
		return -1;
	return change_directory(launch->cwd, err);
}

int tail_keep_fds(struct span keep, unsigned flags, struct err *err)
{
	struct span rest = keep;
	unsigned next = 0;
	unsigned fd;
	long ret = 0;

	while (ret == 0 && launch_next_fd(&rest, &fd)) {
		if (fd > next)
			ret = sys_close_range(next, fd - 1, flags);
		if (ret == 0)
			ret = SYS3(SYS_fcntl, fd, F_SETFD, 0);
		next = fd + 1;
	}
	if (ret == 0)
		ret = sys_close_range(next, ~0U, flags);
	return ret < 0 ? err_set_span(err, "keep the descriptors", keep, ret) : 0;
}
