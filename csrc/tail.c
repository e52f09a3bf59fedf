/* SPDX-License-Identifier: Apache-2.0 */
#include "tail.h"

#include <limits.h>
#include <sys/mount.h>

#define DEFAULT_PATH "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

static int set_hostname(struct span name, struct err *err)
{
	long ret;

	if (!name.data)
		return 0;
	ret = SYS2(SYS_sethostname, name.data, name.len);
	return ret < 0 ? err_set_span(err, "sethostname", name, ret) : 0;
}

/* A /proc of the new pid namespace over the one that was there, in this mount namespace only.
 */
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

int tail_prepare(const struct nsexec *ns, struct err *err)
{
	if (set_hostname(ns->launch.hostname, err) < 0)
		return -1;
	if (ns->launch.mount_proc && mount_proc(err) < 0)
		return -1;
	return change_directory(ns->launch.cwd, err);
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

/* Where another parent started us, the payload goes on with its pipes. */
static void keep_pipes(const struct nsexec *ns)
{
	SYS3(SYS_fcntl, ns->init_fd, F_SETFD, 0);
	if (ns->report.log_fd >= 0)
		SYS3(SYS_fcntl, ns->report.log_fd, F_SETFD, 0);
}

static long execute(struct span directory, const char *name, char *const *argv, char *const *envp)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add_span(&t, directory);
	text_add(&t, directory.len ? "/" : "./");
	text_add(&t, name);
	return t.cut ? -ENAMETOOLONG : SYS3(SYS_execve, text_end(&t), argv, envp);
}

static bool has_slash(const char *s)
{
	while (*s && *s != '/')
		s++;
	return *s == '/';
}

/* As execvp(3): a directory without the program is passed over, and EACCES is remembered. */
static long execute_in_path(const char *path, char *const *argv, char *const *envp)
{
	long result = -ENOENT;

	for (;;) {
		struct span directory = { path, 0 };
		long ret;

		while (path[directory.len] && path[directory.len] != ':')
			directory.len++;
		ret = execute(directory, argv[0], argv, envp);
		if (ret == -EACCES)
			result = ret;
		else if (ret != -ENOENT && ret != -ENOTDIR)
			return ret;
		path += directory.len;
		if (*path++ == '\0')
			return result;
	}
}

int tail_exec(const struct nsexec *ns, char *const *argv, char *const *envp, struct err *err)
{
	const char *path = environment_get(envp, "PATH");
	long ret;

	if (!ns->launched)
		keep_pipes(ns);
	else if (tail_keep_fds(ns->launch.keep_fds, CLOSE_RANGE_CLOEXEC, err) < 0)
		return -1;
	report_trace(&ns->report, "exec");
	if (report_ready(&ns->report, err) < 0)
		return -1;
	if (has_slash(argv[0]))
		ret = SYS3(SYS_execve, argv[0], argv, envp);
	else
		ret = execute_in_path(path ? path : DEFAULT_PATH, argv, envp);
	return err_set(err, "execve", argv[0], ret);
}
