/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library with a constructor. Preloaded into a Python that is about to start, it goes through the
 * stages before main(): only stage 2 returns from the constructor, and the interpreter boots in it,
 * from the module archive. No execve(2) follows the namespaces, so a process that joins somebody's
 * namespaces stays undumpable: only a process with CAP_SYS_PTRACE can ptrace it (CVE-2016-9962).
 *
 * Without its own variables in the environment, the library does nothing.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/exec.h"
#include "base/libc.h"
#include "inside/confinement.h"
#include "inside/root.h"
#include "interpreter/audit_steps.h"
#include "interpreter/module_archive.h"
#include "stages/nsexec.h"
#include "stages/payload.h"
#include "stages/pid1.h"

#define ARCHIVE	 "_NSENTER_ARCHIVE"
#define ROOT_FDS "_NSENTER_ROOT" /* for nsenter/_inside/boot.py */
#define TITLE	 "nsenter-init"

extern char **environ;

static bool is_ours(const char *variable)
{
	char *const one[] = { (char *)(uintptr_t)variable, NULL };

	return nsexec_reads(variable) || environment_get(one, ARCHIVE) ||
	       environment_get(one, "LD_PRELOAD");
}

enum variables { ALL_STRINGS, WITHOUT_OURS };

/* Copy the array and its strings into one piece of memory. */
static char **copy_strings(char **strings, enum variables wanted)
{
	size_t count = 0;
	size_t bytes = 0;
	char **copy;
	char *room;

	for (; strings[count]; count++)
		bytes += strlen(strings[count]) + 1;
	copy = malloc((count + 1) * sizeof(*copy) + bytes);
	if (!copy)
		return NULL;
	room = (char *)(copy + count + 1);
	count = 0;
	for (; *strings; strings++) {
		if (wanted == WITHOUT_OURS && is_ours(*strings))
			continue;
		copy[count++] = room;
		room = stpcpy(room, *strings) + 1;
	}
	copy[count] = NULL;
	return copy;
}

static void wipe(char **strings)
{
	for (; *strings; strings++)
		memset(*strings, 0, strlen(*strings));
}

/* Move what the boot needs to the heap, so that nothing of it can be read from /proc/PID/environ
 * and cmdline. main() gets this very array `argv`, so its elements are replaced in place. */
static int hide_arguments(int argc, char **argv, struct err *err)
{
	char **new_argv = copy_strings(argv, ALL_STRINGS);
	char **new_environ = copy_strings(environ, WITHOUT_OURS);
	char *title = argv[0];
	size_t room;

	if (!new_argv || !new_environ || !title) {
		free(new_argv);
		free(new_environ);
		return err_set(err, "malloc", "a copy of the arguments", ENOMEM);
	}
	room = strlen(title);
	wipe(argv);
	wipe(environ);
	memcpy(title, TITLE, room < sizeof(TITLE) ? room : sizeof(TITLE));
	memcpy(argv, new_argv, (size_t)argc * sizeof(*argv)); /* its strings stay */
	environ = new_environ;
	return 0;
}

/* Returns the descriptor whose number a variable has, or -1. */
static int fd_in(const char *variable, struct err *err)
{
	const char *value = getenv(variable);
	struct span digits = { value, value ? strlen(value) : 0 };
	unsigned fd;

	if (!launch_next_fd(&digits, &fd))
		return err_set(err, "find a descriptor in", variable, EINVAL);
	return (int)fd;
}

/* Open a directory, which is "" (the working directory) or "/": no name is looked up. The
 * descriptor is close-on-exec. */
static int open_place(const char *path, struct err *err)
{
	long fd = SYS3(SYS_open_tree, AT_FDCWD, path, AT_EMPTY_PATH | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, "open_tree", *path ? path : "the working directory", fd);
	return (int)fd;
}

/*
 * An interpreter that boots looks for a few files, whatever it is told. A root that was joined or
 * made may be an enemy's file system, in which every name exists. So the interpreter boots with an
 * empty directory for its root, in which nothing can be found. nsenter/_inside/boot.py returns to
 * the root and the working directory by their descriptors, which stay open for that.
 */
static int hide_root(const struct nsexec *ns, int root, struct err *err)
{
	char fds[32];
	int cwd = open_place("", err);
	OWNED_FD place = ns->place >= 0 ? ns->place : root_make_empty();

	if (cwd < 0)
		return -1;
	if (place < 0)
		return err_set(err, "fsmount", "an empty tmpfs to boot in", place);
	if (fchdir(place) < 0 || chroot(".") < 0)
		return err_set(err, "chroot", "the empty tmpfs to boot in", errno);
	snprintf(fds, sizeof(fds), "%d,%d", root, cwd);
	setenv(ROOT_FDS, fds, 1);
	return 0;
}

/* This process as a stage, for the steps that the interpreter asks for when it runs. */
static struct nsexec stage;

/* In every namespace: make ready what the interpreter boots in. */
static int arrive(struct nsexec *ns, struct err *err)
{
	bool is_joined = namespaces_flags(&ns->boot.join) & CLONE_NEWNS;
	bool is_made = ns->launch.root.data || ns->launch.mounts.data;
	int root = -1;

	/* Joining a mount namespace has made its root the working directory. */
	if (is_joined && (root = open_place("", err)) < 0)
		return -1;
	if (confinement_prepare(&ns->launch, err) < 0 || pid1_split(ns, err) < 0)
		return -1;
	if (is_made && (root = open_place("/", err)) < 0)
		return -1;
	return is_joined || is_made ? hide_root(ns, root, err) : 0;
}

/* The same for an interpreter that has booted: it looks for no file any more. */
static int arrive_late(struct nsexec *ns, struct err *err)
{
	if (confinement_prepare(&ns->launch, err) < 0)
		return -1;
	return pid1_split(ns, err);
}

/* In stage 2: close the descriptors that stage 1 has not, and arrive. */
static int take_over(struct nsexec *ns, struct err *err)
{
	if (nsexec_cut(ns, err) < 0 || nsexec_arrive(ns, err) < 0)
		return -1;
	report_trace(&ns->report, "boot");
	nsexec_restore_signals(ns);
	return 0;
}

/*
 * The constructors of some extension modules call Python, and crash if no interpreter runs yet. If
 * there are such modules, the interpreter boots in the caller's namespaces, loads them there, and
 * then goes through the stages. Until then it has one thread, and runs nothing but
 * nsenter/_inside/boot.py.
 */
static void run_late_stages(void)
{
	struct err err;

	if (archive_load_late(&err) < 0)
		nsexec_fail(&stage, &err);
	stage.arrive = arrive_late;
	nsexec(&stage);
	if (take_over(&stage, &err) < 0)
		nsexec_fail(&stage, &err);
}

static void confine(void)
{
	payload_confine(&stage);
}

static void filter(void)
{
	payload_filter(&stage);
}

static const struct audit_step late_steps[] = {
	{ "nsenter.stages", run_late_stages },
	{ "nsenter.confine", confine },
	{ "nsenter.filter", filter },
};
#define LATE_STEPS (sizeof(late_steps) / sizeof(late_steps[0]))

static int prepare(struct nsexec *ns, int argc, char **argv, struct err *err)
{
	int archive = fd_in(ARCHIVE, err);

	if (archive < 0)
		return -1;
	if (!ns->launched)
		return err_set(err, "find", "our launcher's pipe in the environment", EINVAL);
	if (archive_install(archive, err) < 0)
		return -1;
	libc_settle();
	ns->thread_id = libc_thread_id();
	return hide_arguments(argc, argv, err);
}

static void boot(int argc, char **argv)
{
	struct err err;

	if (!nsexec_from_environment(&stage, environ, &err) ||
	    prepare(&stage, argc, argv, &err) < 0)
		nsexec_fail(&stage, &err);
	if (archive_is_late()) {
		if (audit_steps_install(late_steps, LATE_STEPS, &err) < 0)
			nsexec_fail(&stage, &err);
		return;
	}
	stage.arrive = arrive;
	stage.boots = true;
	nsexec(&stage);
	if (take_over(&stage, &err) < 0 ||
	    (confinement_is_asked(&stage.launch) &&
	     audit_steps_install(late_steps + 1, LATE_STEPS - 1, &err) < 0))
		nsexec_fail(&stage, &err);
}

#ifdef __GLIBC__
/*
 * From 3.15 on, CPython warns on stderr at every start if the directory of its standard library, or
 * the one of its extensions in it, does not exist. No option turns that off. Here they never exist:
 * the modules are in memory, and PYTHONHOME is a name that nobody can know. So stat64() below says
 * that they are directories, once for each warning. For all later calls, such as those of an
 * import, it asks the kernel.
 */
static bool warns_of_library;
static bool warns_of_extensions;

/* Returns what follows HOME/lib/python3.MINOR in a path; NULL if the path does not begin so. */
static const char *in_library(const char *path)
{
	static const char NAME[] = "/python3.";
	const char *home = getenv("PYTHONHOME");
	size_t length = home ? strlen(home) : 0;
	const char *name;

	if (!length || strncmp(path, home, length) != 0 || path[length] != '/')
		return NULL;
	name = strstr(path + length, NAME);
	if (!name)
		return NULL;
	name += strlen(NAME);
	return name + strspn(name, "0123456789");
}

/* Returns whether this is the look at a directory for a warning. Each is expected once. */
static bool is_warned_of(const char *path)
{
	const char *rest = in_library(path);
	bool *expected;

	if (!rest)
		return false;
	expected = *rest ? &warns_of_extensions : &warns_of_library;
	if (!*expected || (*rest && strcmp(rest, "/lib-dynload") != 0))
		return false;
	*expected = false;
	return true;
}

__attribute__((visibility("default"))) int stat64(const char *restrict path,
						  struct stat64 *restrict status)
{
	if ((warns_of_library || warns_of_extensions) && is_warned_of(path)) {
		memset(status, 0, sizeof(*status));
		status->st_mode = S_IFDIR | 0555;
		return 0;
	}
	return fstatat64(AT_FDCWD, path, status, 0);
}

static void expect_warning(void)
{
	const unsigned long *version = dlsym(RTLD_DEFAULT, "Py_Version");

	warns_of_library = version && *version >= 0x030f0000;
	warns_of_extensions = warns_of_library;
}
#else
static void expect_warning(void)
{
}
#endif

__attribute__((constructor)) static void shim(int argc, char **argv, char **envp)
{
	(void)envp;
	if (getenv(ARCHIVE)) {
		boot(argc, argv);
		expect_warning();
	}
}
