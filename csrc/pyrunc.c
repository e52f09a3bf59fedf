/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime, ready sooner and safer than a script would.
 *
 *  - Without site, which takes longer than the rest of a container's start.
 *  - By a read-only mount of the interpreter that nobody else has, or a sealed copy of it: a
 *    container that gets at its init through /proc/self/exe cannot write to it (CVE-2019-5736).
 *  - With cgroup v1, the first move of a process into another cgroup waits for a grace period of
 *    the kernel's (8 ms and more); moves that change nothing have it pass while Python boots.
 *
 * Static and without libc, as nsinit is. Beside it is the interpreter, `python3`.
 */
#include <limits.h>
#include <linux/mount.h>
#include <sys/sendfile.h>
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

/* How long the interpreter takes to come to the move that counts, and more. */
#define STAY_TIMES  8
#define STAY_NAP_NS 4000000

#define START	   "/libcontainer/pyrunc/start.py"
#define FLAG_COUNT 6

static bool equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

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

/* A sealed copy, where we could write to the file ourselves, and a container of ours too. */
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
	if (n < 0 || SYS3(SYS_fcntl, copy, F_ADD_SEALS, seals) < 0) {
		sys_close((int)copy);
		return -1;
	}
	return (int)copy;
}

static bool is_ours_to_write(const char *path)
{
	return SYS4(SYS_faccessat, AT_FDCWD, path, 2 /* W_OK */, 0) == 0;
}

/* Returns only on failure. */
static void execute(const char *path, char *const *argv, char *const *envp)
{
	int fd = readonly_mount(path);

	if (fd < 0 && is_ours_to_write(path))
		fd = sealed_copy(path);
	if (fd >= 0)
		SYS5(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
	else
		SYS3(SYS_execve, path, argv, envp);
}

/* ---- the cgroup ------------------------------------------------------------------------ */

static bool moves_processes(char *const *argv)
{
	for (argv++; *argv; argv++)
		if (equal(*argv, "run") || equal(*argv, "create") || equal(*argv, "exec"))
			return true;
	return false;
}

/* "5:devices:/some/path": where a controller of v1 has us. */
static bool procs_path(struct span line, struct text *out)
{
	struct span number, controller;

	if (!span_next(&line, ':', &number) || !span_next(&line, ':', &controller) ||
	    !controller.len || line.len < 1)
		return false;
	out->len = 0;
	out->cut = false;
	text_add(out, "/sys/fs/cgroup/");
	text_add_span(out, controller);
	text_add_span(out, line);
	text_add(out, "/cgroup.procs");
	return !out->cut;
}

/* Of the first hierarchy of v1 that is where it usually is; -1: there is none. */
static int open_own_procs(void)
{
	char table[PATH_MAX];
	char buf[PATH_MAX];
	struct text path = TEXT_IN(buf);
	struct span rest = { table, 0 };
	struct span line;
	long fd = sys_open("/proc/self/cgroup", O_RDONLY);
	long n = fd < 0 ? 0 : sys_read((int)fd, table, sizeof(table));

	rest.len = n > 0 ? (size_t)n : 0;
	while (rest.len && span_next(&rest, '\n', &line)) {
		if (!procs_path(line, &path))
			continue;
		fd = sys_open(text_end(&path), O_WRONLY);
		if (fd >= 0)
			return (int)fd;
	}
	return -1;
}

/* Move this process to where it is, for as long as it may matter. It holds nothing of the
 * caller's: who reads its output waits for us no longer than for the command. */
static void stay(void)
{
	const struct timespec nap = { .tv_nsec = STAY_NAP_NS };
	int fd = open_own_procs();

	if (fd < 0 || SYS3(SYS_dup3, fd, 0, O_CLOEXEC) < 0)
		return;
	sys_close_range(1, ~0U, 0);
	SYS1(SYS_chdir, "/");
	for (int i = 0; i < STAY_TIMES && sys_write(0, "0", 1) == 1; i++)
		SYS2(SYS_nanosleep, &nap, 0);
}

/* In a process that nobody waits for: it is its grandparent's, that is init's, to reap. */
static void begin_grace_period(void)
{
	siginfo_t info;
	long pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		if (SYS5(SYS_clone, 0, 0, 0, 0, 0) == 0)
			stay();
		sys_exit(0);
	}
	if (pid > 0)
		SYS5(SYS_waitid, P_PID, pid, &info, WEXITED, 0);
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

int nsinit_main(int argc, char **argv, char **envp);

int nsinit_main(int argc, char **argv, char **envp)
{
	static char *words[MAX_WORDS + FLAG_COUNT + 2];
	char own[PATH_MAX];
	char python_buf[PATH_MAX];
	char start_buf[PATH_MAX];
	struct text python = TEXT_IN(python_buf);
	struct text start = TEXT_IN(start_buf);
	struct span folder = own_folder(own, sizeof(own));
	const char *interpreter = join(&python, folder, "python3");
	const char *script = join(&start, folder, "../" NSX_SITE START);
	const char *const flags[FLAG_COUNT] = {
		interpreter, "-I", "-S", "-X", "frozen_modules=on", NULL,
	};
	int count = 0;

	if (!exists(script))
		script = NSX_SOURCE START;
	if (argc > MAX_WORDS)
		fail("too many", "arguments");
	for (; flags[count]; count++)
		words[count] = (char *)(uintptr_t)flags[count];
	words[count++] = (char *)(uintptr_t)script;
	for (int i = 1; i < argc; i++)
		words[count++] = argv[i];
	words[count] = NULL;
	if (moves_processes(argv))
		begin_grace_period();
	execute(interpreter, words, envp);
	fail("cannot execute", interpreter);
}
