/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime, ready sooner and safer than a script would.
 *
 *  - Beside it the interpreter of the init, where there is to be one: it boots while the runtime
 *    finds out what the init is to be (nsenter/waiting.py).
 *  - Without site, which takes longer than the rest of a container's start.
 *  - By a read-only mount of the interpreter that nobody else has, or a sealed copy of it: a
 *    container that gets at its init through /proc/self/exe cannot write to it (CVE-2019-5736).
 *
 * Static and without libc, as nsinit is. Beside it is the interpreter, `python3`.
 */
#include <limits.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "sys.h"
#include "text.h"

#ifndef NSX_SOURCE
#define NSX_SOURCE "" /* where an editable installation has the modules */
#endif

#define MAX_WORDS 4096
#ifndef NSX_SITE
#define NSX_SITE "lib/python3/site-packages" /* from where this program is installed */
#endif

#define START	   "/libcontainer/pyrunc/start.py"
#define FLAG_COUNT 8

/* For libcontainer/pyrunc/start.py. */
#define INIT_VARIABLE "_PYRUNC_INIT"
#define LIBRARIES     "LD_LIBRARY_PATH="

static _Noreturn void fail(const char *what, const char *name)
{
	char buf[2 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: ");
	text_add(&t, what);
	text_add(&t, " ");
	text_add(&t, name);
	text_add(&t, "\n");
	sys_write(2, buf, t.len);
	sys_exit(1);
}

/* ---- the interpreter ------------------------------------------------------------------- */

/* A mount of the one file, read-only; -1 for who may not mount. */
static int readonly_mount(const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	long fd = SYS3(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return -1;
	if (SYS5(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0) {
		sys_close((int)fd);
		return -1;
	}
	return (int)fd;
}

/* A sealed copy, where we could change the file ourselves, and a container of ours too. */
static int sealed_copy(const char *path)
{
	const unsigned seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	long source = sys_open(path, O_RDONLY);
	long copy = SYS2(SYS_memfd_create, "python", MFD_CLOEXEC | MFD_ALLOW_SEALING | 0x10U);
	long n;

	if (copy == -EINVAL) /* MFD_EXEC is of Linux 6.3 */
		copy = SYS2(SYS_memfd_create, "python", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (source < 0 || copy < 0)
		return -1;
	do
		n = SYS4(SYS_sendfile, copy, source, 0, 1 << 30);
	while (n > 0);
	sys_close((int)source);
	/* F_SEAL_EXEC, which keeps its mode, is of Linux 6.3 too. */
	if (n < 0 || (SYS3(SYS_fcntl, copy, F_ADD_SEALS, seals | 0x20U) < 0 &&
		      SYS3(SYS_fcntl, copy, F_ADD_SEALS, seals) < 0)) {
		sys_close((int)copy);
		return -1;
	}
	return (int)copy;
}

/* Its owner may change its mode, and with that write to it. */
static bool could_change(const char *path)
{
	struct stat st;

	return SYS4(SYS_faccessat, AT_FDCWD, path, 2 /* W_OK */, 0) == 0 ||
	       (SYS4(SYS_newfstatat, AT_FDCWD, path, &st, 0) == 0 &&
		st.st_uid == (uid_t)SYS0(SYS_geteuid));
}

/* -1: its path is good enough. */
static int open_executable(const char *path)
{
	int fd = readonly_mount(path);

	return fd < 0 && could_change(path) ? sealed_copy(path) : fd;
}

/* Returns only on failure. */
static void execute(const char *path, int fd, char *const *argv, char *const *envp)
{
	if (fd >= 0)
		SYS5(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
	else
		SYS3(SYS_execve, path, argv, envp);
}

/* ---- the start ------------------------------------------------------------------------- */

static bool exists(const char *path)
{
	return SYS4(SYS_faccessat, AT_FDCWD, path, 0, 0) == 0;
}

static const char *join(struct text *t, struct span folder, const char *rest)
{
	text_add_span(t, folder);
	text_add(t, rest);
	return text_end(t);
}

/* The folder that this program is in, whatever links led to it. */
static struct span own_folder(char *buf, size_t size)
{
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", buf, size);

	if (n <= 0 || (size_t)n == size)
		fail("cannot read", "/proc/self/exe: is /proc mounted?");
	while (n > 0 && buf[n - 1] != '/')
		n--;
	return (struct span){ buf, (size_t)n };
}

/* What both interpreters are started with, and behind it the words of one of them. */
static char **command(const char *interpreter, const char *script, char *const *words)
{
	static char *argv[MAX_WORDS + FLAG_COUNT + 1];
	const char *const flags[FLAG_COUNT] = {
		interpreter, "-I", "-S", "-X", "frozen_modules=on", "-X", "no_debug_ranges", script,
	};
	int count = 0;

	for (; count < FLAG_COUNT; count++)
		argv[count] = (char *)(uintptr_t)flags[count];
	for (; *words; words++)
		argv[count++] = *words;
	argv[count] = NULL;
	return argv;
}

/* ---- the init ---------------------------------------------------------------------------- */

/* Commands that start a process of a container. */
static bool starts_a_process(char *const *words)
{
	static const char *const commands[] = { "run", "create", "exec" };

	for (; *words; words++) {
		const struct span word = { *words, text_length(*words) };

		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (span_equals(word, commands[i]))
				return true;
	}
	return false;
}

static bool begins(const char *text, const char *with)
{
	while (*with && *text == *with) {
		text++;
		with++;
	}
	return !*with;
}

/* "NAME=1,2,3" */
static char *variable(char *buf, size_t size, const char *name, const long *numbers, int count)
{
	struct text t = { .data = buf, .cap = size };

	text_add(&t, name);
	for (int i = 0; i < count; i++) {
		text_add(&t, i ? "," : "=");
		text_add_number(&t, numbers[i]);
	}
	return (char *)(uintptr_t)text_end(&t);
}

static void inherit(int fd)
{
	SYS3(SYS_fcntl, fd, F_SETFD, 0);
}

/* Nothing of the caller's environment is the init's, but where its libraries are. */
static _Noreturn void become_init(const char *interpreter, const char *script, int executable,
				  char *const *envp, int channel, int status)
{
	static char *const words[] = { (char *)(uintptr_t) "init", NULL };
	const long ends[] = { channel, status };
	char ours[64];
	char *environment[3] = { variable(ours, sizeof(ours), INIT_VARIABLE, ends, 2) };

	for (; *envp; envp++)
		if (begins(*envp, LIBRARIES))
			environment[1] = *envp;
	SYS2(SYS_setpgid, 0, 0);
	inherit(channel);
	inherit(status);
	execute(interpreter, executable, command(interpreter, script, words), environment);
	sys_exit(127);
}

/* Start the init's interpreter; `place` becomes the variable that tells the runtime of it. False
 * where that cannot be, and the runtime then does without. */
static bool start_init(const char *interpreter, const char *script, int executable,
		       char *const *envp, char *place, size_t size)
{
	int channel[2];
	int status[2];
	long pid;

	if (SYS4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0)
		return false;
	if (SYS2(SYS_pipe2, status, O_CLOEXEC) < 0)
		return false;
	pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0)
		become_init(interpreter, script, executable, envp, channel[1], status[1]);
	if (pid < 0)
		return false;
	SYS2(SYS_setpgid, pid, pid);
	inherit(channel[0]);
	inherit(status[0]);
	variable(place, size, INIT_VARIABLE, (const long[]){ pid, channel[0], status[0] }, 3);
	return true;
}

/* The environment without what is ours alone to say, and with room for it. */
static char **copy_environment(char *const *envp, char ***room)
{
	size_t count = 0;
	char **copy;
	long memory;

	while (envp[count])
		count++;
	memory = SYS6(SYS_mmap, 0, (count + 2) * sizeof(*copy), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory < 0 && memory > -4096)
		fail("no memory for", "the environment");
	copy = (char **)memory;
	for (count = 0; *envp; envp++)
		if (!begins(*envp, INIT_VARIABLE "="))
			copy[count++] = *envp;
	*room = &copy[count];
	return copy;
}

int nsinit_main(int argc, char **argv, char **envp);

int nsinit_main(int argc, char **argv, char **envp)
{
	char own[PATH_MAX];
	char python_buf[PATH_MAX];
	char start_buf[PATH_MAX];
	char place[64];
	struct text python = TEXT_IN(python_buf);
	struct text start = TEXT_IN(start_buf);
	struct span folder = own_folder(own, sizeof(own));
	const char *interpreter = join(&python, folder, "python3");
	const char *script = join(&start, folder, "../" NSX_SITE START);
	char **room;
	int executable;

	if (!exists(script))
		script = NSX_SOURCE START;
	if (argc > MAX_WORDS)
		fail("too many", "arguments");
	executable = open_executable(interpreter);
	envp = copy_environment(envp, &room);
	if (starts_a_process(argv + 1) &&
	    start_init(interpreter, script, executable, envp, place, sizeof(place)))
		*room = place;
	execute(interpreter, executable, command(interpreter, script, argv + 1), envp);
	fail("cannot execute", interpreter);
}
