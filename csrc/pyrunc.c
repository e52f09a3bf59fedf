/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime, ready sooner and safer than a script would.
 *
 *  - Without site, which takes longer than the rest of a container's start.
 *  - By a read-only mount of the interpreter that nobody else has, or a sealed copy of it: a
 *    container that gets at its init through /proc/self/exe cannot write to it (CVE-2019-5736).
 *
 * Static and without libc, as nsinit is. Beside it is the interpreter, `python3`.
 */
#include <limits.h>
#include <linux/mount.h>

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
#define FLAG_COUNT 6

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
	execute(interpreter, words, envp);
	fail("cannot execute", interpreter);
}
