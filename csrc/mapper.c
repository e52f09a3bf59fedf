/* SPDX-License-Identifier: Apache-2.0 */
#include "mapper.h"

#include <limits.h>

#include "clone.h"
#include "idmap.h"

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

#define TOOL_ARGS_MAX (2 + 3 * IDMAP_LINES_MAX + 1)

/* argv of a mapping tool: `tool pid container host size …`. The words are copied, so that each
 * has its NUL. */
struct tool {
	char path[PATH_MAX];
	char pid[16];
	char words[IDMAP_BYTES_MAX + 1];
	const char *argv[TOOL_ARGS_MAX];
};

static void split_words(struct tool *tool, struct span map, size_t argc)
{
	bool inside = false;

	for (size_t i = 0; i < map.len; i++) {
		char c = map.data[i];
		bool blank = c == ' ' || c == '\n';

		tool->words[i] = blank ? '\0' : c;
		if (!blank && !inside)
			tool->argv[argc++] = &tool->words[i];
		inside = !blank;
	}
	tool->words[map.len] = '\0';
	tool->argv[argc] = NULL;
}

/* `map` has passed idmap_check, so it fits. */
static void tool_prepare(struct tool *tool, struct span path, int pid, struct span map)
{
	struct text path_text = TEXT_IN(tool->path);
	struct text pid_text = TEXT_IN(tool->pid);

	text_add_span(&path_text, path);
	text_add_number(&pid_text, pid);
	tool->argv[0] = text_end(&path_text);
	tool->argv[1] = text_end(&pid_text);
	split_words(tool, map, 2);
}

static _Noreturn void tool_exec(const struct tool *tool, int stderr_fd)
{
	static const char *const no_environment[] = { NULL };
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	sys_sigaction(SIGPIPE, &by_default, NULL);
	SYS3(SYS_dup3, stderr_fd, 2, 0);
	sys_close_range(3, ~0U, 0);
	SYS3(SYS_execve, tool->path, tool->argv, no_environment);
	sys_exit(127);
}

/* Wait until the process has ended, for at most `timeout_ms`; then it is killed. Returns its
 * siginfo, or -errno. */
static long tool_wait(int pidfd, int timeout_ms, siginfo_t *info)
{
	struct pollfd poll = { .fd = pidfd, .events = POLLIN };
	struct timespec limit = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };
	long ready, ret;

	do
		ready = SYS5(SYS_ppoll, &poll, 1, &limit, 0, sizeof(uint64_t));
	while (ready == -EINTR);
	if (ready <= 0)
		SYS4(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0);
	do
		ret = SYS5(SYS_waitid, P_PIDFD, pidfd, info, WEXITED, 0);
	while (ret == -EINTR);
	if (ready == 0)
		return -ETIMEDOUT;
	return ready < 0 ? ready : ret;
}

/* "/usr/bin/newuidmap: exit status 1: uid range … not allowed" */
static void describe(struct text *t, const struct tool *tool, const siginfo_t *info, int stderr_fd)
{
	char said[256];
	long n;

	text_add(t, tool->path);
	if (info->si_code == CLD_EXITED)
		text_add(t, ": exit status ");
	else
		text_add(t, ": killed by signal ");
	text_add_number(t, info->si_status);
	n = sys_read(stderr_fd, said, sizeof(said));
	while (n > 0 && said[n - 1] == '\n')
		n--;
	if (n > 0) {
		text_add(t, ": ");
		text_add_span(t, (struct span){ said, (size_t)n });
	}
}

static int tool_result(const struct tool *tool, long waited, const siginfo_t *info, int stderr_fd,
		       struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	if (waited < 0)
		return err_set(err, "wait for", tool->path, waited);
	/* A killed tool has failed whatever its status reads as. */
	if (info->si_code == CLD_EXITED && info->si_status == 0)
		return 0;
	describe(&t, tool, info, stderr_fd);
	return err_set(err, "run", text_end(&t), EPERM);
}

static int tool_run(const struct tool *tool, int timeout_ms, struct err *err)
{
	int output[2];
	int pidfd = -1;
	const struct clone_request request = { .cgroup_fd = -1, .pidfd = &pidfd };
	siginfo_t info = { 0 };
	long ret = SYS2(SYS_pipe2, output, O_CLOEXEC | O_NONBLOCK);

	if (ret < 0)
		return err_set(err, "pipe2", tool->path, ret);
	ret = process_clone(&request);
	if (ret == 0)
		tool_exec(tool, output[1]);
	sys_close(output[1]);
	if (ret < 0) {
		sys_close(output[0]);
		return err_set(err, "clone", tool->path, ret);
	}
	ret = tool_wait(pidfd, timeout_ms, &info);
	ret = tool_result(tool, ret, &info, output[0], err);
	sys_close(output[0]);
	sys_close(pidfd);
	return (int)ret;
}

static int write_map(int pid, const char *file, struct span map, struct span tool_path,
		     int timeout_ms, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	const char *path = proc_path(&t, pid, file);
	struct tool tool;
	long ret;

	if (map.len == 0)
		return 0;
	ret = write_file(path, map);
	if (ret == 0)
		return 0;
	if (ret != -EPERM || !tool_path.data)
		return err_set(err, "write", path, ret);
	if (tool_path.len >= sizeof(tool.path))
		return err_set_span(err, "run", tool_path, ENAMETOOLONG);
	tool_prepare(&tool, tool_path, pid, map);
	return tool_run(&tool, timeout_ms, err);
}

int mapper_write(const struct bootstrap *boot, int pid, int tool_timeout_ms, struct err *err)
{
	if (boot->rootless_euid && !boot->setgroup && deny_setgroups(pid, err) < 0)
		return -1;
	if (write_map(pid, "uid_map", boot->uidmap, boot->uidmap_path, tool_timeout_ms, err) < 0)
		return -1;
	return write_map(pid, "gid_map", boot->gidmap, boot->gidmap_path, tool_timeout_ms, err);
}
