/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/write_maps.h"

#include "stages/mapping_tool.h"

static const char *proc_path(struct text *t, int pid, const char *file)
{
	text_add(t, "/proc/");
	text_add_number(t, pid);
	text_add(t, "/");
	text_add(t, file);
	return text_end(t);
}

/* One write: the kernel takes a whole map at once or not at all. Returns 0 or -errno. */
static long write_file(const char *path, struct span content)
{
	long fd = sys_open(path, O_WRONLY);
	long n;

	if (fd < 0)
		return fd;
	n = sys_write((int)fd, content.data, content.len);
	sys_close((int)fd);
	if (n < 0)
		return n;
	return (size_t)n == content.len ? 0 : -EIO;
}

/* An unprivileged process may write a gid map only where setgroups(2) is denied for good
 * (CVE-2014-8989). */
static int deny_setgroups(int pid, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	const char *path = proc_path(&t, pid, "setgroups");
	long ret = write_file(path, (struct span){ "deny", 4 });

	if (ret < 0 && ret != -ENOENT)
		return err_set(err, "write", path, ret);
	return 0;
}

/* A tool that said it was done, and did nothing. */
static int check_written(const char *path, struct span tool_path, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);
	long fd = sys_open(path, O_RDONLY);
	char first;
	long n = fd < 0 ? fd : sys_read((int)fd, &first, 1);

	if (fd >= 0)
		sys_close((int)fd);
	if (n > 0)
		return 0;
	text_add_span(&t, tool_path);
	text_add(&t, ": exit status 0, but it has left empty ");
	text_add(&t, path);
	return err_set(err, "run", text_end(&t), n < 0 ? n : EPERM);
}

static int write_map(int pid, const char *file, struct span map, struct span tool_path, int init_fd,
		     int timeout_ms, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	const char *path = proc_path(&t, pid, file);
	long ret;

	if (map.len == 0)
		return 0;
	ret = write_file(path, map);
	if (ret == 0)
		return 0;
	if (ret != -EPERM || !tool_path.data)
		return err_set(err, "write", path, ret);
	if (mapping_tool_run(tool_path, pid, map, init_fd, timeout_ms, err) < 0)
		return -1;
	return check_written(path, tool_path, err);
}

/* In another pid namespace's /proc, our numbers are strangers'. */
static int check_proc(struct err *err)
{
	char link[16];
	char own[16];
	struct text t = TEXT_IN(own);
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self", link, sizeof(link));

	text_add_number(&t, sys_getpid());
	if (n < 0)
		return err_set(err, "readlink", "/proc/self", n);
	if (!span_equals((struct span){ link, (size_t)n }, text_end(&t)))
		return err_set(err, "write", "the id maps: /proc is of another pid namespace",
			       EXDEV);
	return 0;
}

int maps_write(const struct bootstrap *boot, int pid, int init_fd, int tool_timeout_ms,
	       struct err *err)
{
	if (!(boot->cloneflags & CLONE_NEWUSER))
		return 0;
	if (check_proc(err) < 0)
		return -1;
	if (boot->rootless_euid && !boot->setgroup && deny_setgroups(pid, err) < 0)
		return -1;
	if (write_map(pid, "uid_map", boot->uidmap, boot->uidmap_path, init_fd, tool_timeout_ms,
		      err) < 0)
		return -1;
	return write_map(pid, "gid_map", boot->gidmap, boot->gidmap_path, init_fd, tool_timeout_ms,
			 err);
}

int maps_write_own(const struct bootstrap *boot, struct err *err)
{
	const struct {
		const char *path;
		struct span content;
	} files[] = {
		{ "/proc/self/setgroups", { "deny", 4 } },
		{ "/proc/self/uid_map", boot->uidmap },
		{ "/proc/self/gid_map", boot->gidmap },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		long ret = files[i].content.len ? write_file(files[i].path, files[i].content) : 0;

		if (ret < 0)
			return err_set(err, "write", files[i].path, ret);
	}
	return 0;
}
