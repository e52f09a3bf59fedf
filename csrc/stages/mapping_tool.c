/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/mapping_tool.h"

#include <limits.h>
#include <unistd.h>

#include "base/clone.h"
#include "base/descriptor.h"
#include "base/fallback.h"
#include "message/idmap.h"

#define TOOL_ARGS_MAX (2 + 3 * IDMAP_LINES_MAX + 1)

/* The arguments of a mapping tool: "tool pid container host size …". The words are copied, so that
 * each has its NUL. */
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

/* Execute the tool. If nobody waits for it any more, it must not go on, so it dies with this stage.
 * The kernel forgets that if the tool is a setuid program; our launcher finds such a tool by its
 * process group. */
static _Noreturn void tool_exec(const struct tool *tool, int stderr_fd, long parent)
{
	static const char *const no_environment[] = { NULL };
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (SYS0(SYS_getppid) != parent)
		sys_exit(NOT_EXECUTED);
	sys_sigaction(SIGPIPE, &by_default, NULL);
	sys_put_inherited(stderr_fd, STDERR_FILENO);
	if (fallback_close_range(FIRST_AFTER_STREAMS, ~0U, CLOSE_NOW) < 0)
		sys_exit(NOT_EXECUTED);
	SYS3(SYS_execve, tool->path, tool->argv, no_environment);
	sys_exit(NOT_EXECUTED);
}

/* What a tool writes to its stderr. The beginning is kept. The rest is read and dropped, so that no
 * tool blocks on a full pipe. */
struct words {
	int fd; /* -1 when its end has been read */
	char data[256];
	size_t len;
};

static void words_read(struct words *words)
{
	char rest[4096];
	size_t room = sizeof(words->data) - words->len;
	long n = room ? sys_read(words->fd, words->data + words->len, room)
		      : sys_read(words->fd, rest, sizeof(rest));

	if (n > 0 && room) {
		words->len += (size_t)n;
	} else if (n <= 0 && n != -EAGAIN) {
		words->fd = -1; /* poll(2) ignores it */
	}
}

/* Wait until the tool has ended, its time is up, or nobody waits for this stage any more: the init
 * pipe hangs up when the parent is gone. Returns 0, or -errno if the tool must be killed. */
static long tool_watch(int pidfd, int init_fd, int timeout_ms, struct words *words)
{
	struct timespec left = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	for (;;) {
		struct pollfd polls[] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = init_fd },
			{ .fd = words->fd, .events = POLLIN },
		};
		/* The system call itself subtracts the time that has passed from `left`. */
		long ready = SYS5(SYS_ppoll, polls, 3, &left, 0, sizeof(uint64_t));

		if (ready == -EINTR)
			continue;
		if (ready < 0)
			return ready;
		if (ready == 0)
			return -ETIMEDOUT;
		if (polls[2].revents)
			words_read(words);
		if (polls[0].revents)
			return 0;
		if (polls[1].revents & (POLLHUP | POLLERR))
			return -EPIPE;
	}
}

/* Returns the tool's siginfo, or -errno. */
static long tool_wait(int pidfd, int pid, int init_fd, int timeout_ms, struct words *words,
		      siginfo_t *info)
{
	long watched = tool_watch(pidfd, init_fd, timeout_ms, words);
	long ret;

	if (watched < 0)
		fallback_kill(pidfd, pid);
	do
		ret = SYS5(SYS_waitid, P_PIDFD, pidfd, info, WEXITED, 0);
	while (ret == -EINTR);
	/* Read what it wrote last. */
	while (words->fd >= 0 && words->len < sizeof(words->data)) {
		size_t before = words->len;

		words_read(words);
		if (words->len == before)
			break;
	}
	return watched < 0 ? watched : ret;
}

/* Describe a failure: "/usr/bin/newuidmap: exit status 1: uid range … not allowed". */
static void describe(struct text *t, const struct tool *tool, const siginfo_t *info,
		     const struct words *words)
{
	size_t n = words->len;

	text_add(t, tool->path);
	if (info->si_code == CLD_EXITED)
		text_add(t, ": exit status ");
	else
		text_add(t, ": killed by signal ");
	text_add_number(t, info->si_status);
	while (n > 0 && (words->data[n - 1] == '\n' || words->data[n - 1] == '\0'))
		n--;
	if (n > 0) {
		text_add(t, ": ");
		text_add_span(t, (struct span){ words->data, n });
	}
}

static int tool_result(const struct tool *tool, long waited, const siginfo_t *info,
		       const struct words *words, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	if (waited < 0)
		return err_set(err, "wait for", tool->path, waited);
	/* The status of a tool that was killed is the number of the signal. */
	if (info->si_code == CLD_EXITED && info->si_status == 0)
		return 0;
	describe(&t, tool, info, words);
	return err_set(err, "run", text_end(&t), EPERM);
}

/* Start the tool. Returns its pid, or -1; `*output` is what it writes to its stderr. */
static int tool_start(const struct tool *tool, int *pidfd, int *output, struct err *err)
{
	const struct clone_request request = { .cgroup_fd = -1, .pidfd = pidfd };
	const long self = sys_getpid();
	OWNED_FD stderr_fd = -1;
	long ret = sys_pipe(output, &stderr_fd);

	if (ret < 0)
		return err_set(err, "pipe2", tool->path, ret);
	ret = process_clone(&request);
	if (ret == 0)
		tool_exec(tool, stderr_fd, self);
	if (ret < 0)
		return err_set(err, "clone", tool->path, ret);
	/* The flag is of this end alone: the tool's must block, as any pipe does. */
	SYS3(SYS_fcntl, *output, F_SETFL, O_NONBLOCK);
	return (int)ret;
}

static int run(const struct tool *tool, int init_fd, int timeout_ms, struct err *err)
{
	OWNED_FD pidfd = -1, output = -1;
	struct words words = { 0 };
	siginfo_t info = { 0 };
	int pid;
	/* If it does not exist, the status of the child would say so, but a tool can also end with
	 * that status itself. */
	long ret = SYS3(SYS_faccessat, AT_FDCWD, tool->path, X_OK);

	if (ret < 0)
		return err_set(err, "execve", tool->path, ret);
	pid = tool_start(tool, &pidfd, &output, err);
	if (pid < 0)
		return -1;
	words.fd = output;
	ret = tool_wait(pidfd, pid, init_fd, timeout_ms, &words, &info);
	return tool_result(tool, ret, &info, &words, err);
}

int mapping_tool_run(struct span path, int pid, struct span map, int init_fd, int timeout_ms,
		     struct err *err)
{
	struct tool tool;

	if (path.len >= sizeof(tool.path))
		return err_set_span(err, "execve", path, ENAMETOOLONG);
	tool_prepare(&tool, path, pid, map);
	return run(&tool, init_fd, timeout_ms, err);
}
