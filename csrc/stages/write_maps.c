/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/write_maps.h"

#include "base/descriptor.h"
#include "base/proc.h"
#include "stages/mapping_tool.h"

/* An unprivileged process may write a gid map only where setgroups(2) is denied for good
 * (CVE-2014-8989). */
static int deny_setgroups(int pid, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	const char *path = proc_path(&t, pid, "setgroups");
	const int result = proc_write(path, (struct span){ "deny", 4 }, err);

	return result < 0 && err->errnum == ENOENT ? 0 : result;
}

/* Fails if a tool has ended with success, but has written nothing. */
static int check_written(const char *path, struct span tool_path, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);
	OWNED_FD fd = sys_open(path, O_RDONLY);
	char first;
	long n = fd < 0 ? fd : sys_read(fd, &first, 1);

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

	if (map.len == 0 || proc_write(path, map, err) == 0)
		return 0;
	if (err->errnum != EPERM || !tool_path.data)
		return -1;
	if (mapping_tool_run(tool_path, pid, map, init_fd, timeout_ms, err) < 0)
		return -1;
	return check_written(path, tool_path, err);
}

/* Fails if /proc is of another PID namespace, where the numbers of our processes are those of
 * others: the maps of one of them would be written. */
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
		if (files[i].content.len && proc_write(files[i].path, files[i].content, err) < 0)
			return -1;
	}
	return 0;
}
