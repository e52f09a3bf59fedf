/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime. It is faster and safer than a script:
 *
 *  - If there is a valid memory image, it becomes the interpreter of that
 *    (csrc/interpreter/command_image.c). Otherwise it executes one, as follows.
 *  - If the command starts a process of a container, it starts the interpreter of the init as well,
 *    which boots while the runtime finds out what the init is to do
 *    (nsenter/_interpreter/prebooted.py).
 *  - The interpreters start without site, which takes longer than the rest of a container's start.
 *  - It executes them by a read-only mount that nobody else has, or by a sealed copy: a container
 *    that opens its init by /proc/self/exe cannot write to the host's file (CVE-2019-5736).
 *
 * The program is static and without libc, as nsinit is, and the same file in every environment. The
 * file START beside it says which Python and which package it belongs to: the installer writes its
 * first line, "#!PYTHON" (libcontainer/pyrunc/find.py). Neither the current directory nor the
 * environment can change that. A copy of this program uses the START that was recorded when it was
 * built.
 */
#include <limits.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/descriptor.h"
#include "base/fallback.h"
#include "base/signals.h"
#include "interpreter/command_image.h"

#ifndef NSX_RECORDED
#define NSX_RECORDED "" /* the path of START, if it was known when this was built */
#endif

#define START	   "pyrunc-start"
#define PYTHON	   "python3"
#define MAX_WORDS  4096
#define FLAG_COUNT 6

/* Of Linux 6.3: MFD_EXEC, and F_SEAL_EXEC, which keeps the file executable. */
#define WITH_EXEC 0x10U
#define SEAL_MODE 0x20U

/* For libcontainer/pyrunc/start.py. */
#define INIT_VARIABLE "_PYRUNC_INIT"
#define NO_IMAGE      "_PYRUNC_NO_IMAGE"
#define LIBRARIES     "LD_LIBRARY_PATH="

static _Noreturn void fail_with(struct text *t)
{
	text_add(t, "\n");
	sys_write(STDERR_FILENO, t->data, t->len);
	sys_exit(1);
}

static _Noreturn void fail(const char *what, const char *name)
{
	char buf[2 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: ");
	text_add(&t, what);
	text_add(&t, " ");
	text_add(&t, name);
	fail_with(&t);
}

static const char *reason(long result)
{
	switch (-result) {
	case ENOENT:
		return "No such file or directory";
	case ENOTDIR:
		return "Not a directory";
	case EACCES:
		return "Permission denied";
	case ENOEXEC:
		return "Exec format error";
	case ELOOP:
		return "Too many levels of symbolic links";
	case ENOMEM:
		return "Cannot allocate memory";
	case E2BIG:
		return "Argument list too long";
	case EMFILE:
		return "Too many open files";
	default:
		return NULL;
	}
}

static void add_reason(struct text *t, long result)
{
	const char *known = reason(result);

	if (known) {
		text_add(t, known);
		return;
	}
	text_add(t, "errno ");
	text_add_number(t, -result);
}

/* ---- the streams ------------------------------------------------------------------------- */

static bool is_directory(int fd)
{
	struct stat st;

	return SYS2(SYS_fstat, fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Give each stream that the caller has closed /dev/null. A descriptor that is opened later would
 * otherwise become a stream, and what the container reads and writes would depend on the caller.
 * The programs of Go, runc among them, do the same.
 *
 * A stream that is a directory is closed first: Python does not start with one, and a container
 * that has one of the host's could leave its root by it.
 */
static void prepare_streams(void)
{
	int fd;

	for (fd = 0; fd < FIRST_AFTER_STREAMS; fd++)
		if (is_directory(fd))
			sys_close(fd);
	while ((fd = sys_open("/dev/null", O_RDWR)) >= 0 && fd < FIRST_AFTER_STREAMS)
		sys_inherit(fd);
	if (fd >= 0)
		sys_close(fd);
}

static uint64_t ignored_signals(void)
{
	uint64_t set = NO_SIGNALS;

	for (int sig = 1; sig <= SIGNAL_MAX; sig++)
		if (sys_is_ignored(sig))
			set |= ONLY_SIGNAL(sig);
	return set;
}

/*
 * If the caller ignores SIGCHLD, the kernel collects our children, and nobody learns their status.
 * If the caller blocks signals, none of them is passed on to the container.
 *
 * If a process of a container is started, the signals that the caller ignores are blocked, so that
 * the kernel does not drop those that come before libcontainer/pyrunc/signals.py passes them on.
 */
static void reset_signals(bool starts_process)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	sys_sigaction(SIGCHLD, &by_default, NULL);
	signals_block(starts_process ? ignored_signals() : NO_SIGNALS);
}

/* ---- what belongs to this program -------------------------------------------------------- */

static const char *join(struct text *t, struct span folder, const char *rest)
{
	text_add_span(t, folder);
	text_add(t, rest);
	return text_end(t);
}

/* Returns the directory of a path, with the slash at its end. */
static struct span directory_of(const char *path)
{
	size_t n = text_length(path);

	while (n > 0 && path[n - 1] != '/')
		n--;
	return (struct span){ path, n };
}

/* Read where this program is, whatever links led to it. */
static void read_own_path(char *buf, size_t size)
{
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", buf, size - 1);

	if (n <= 0 || (size_t)n == size - 1)
		fail("cannot read", "/proc/self/exe: is /proc mounted?");
	buf[n] = '\0';
}

/* Returns whether a file is one of root, of the owner of this program, or of the user who runs it,
 * and nobody else can write to it. A copy of this program may be in a directory in which anybody
 * can make files. */
static bool is_trusted(const struct stat *file)
{
	struct stat own;

	if (!S_ISREG(file->st_mode) || (file->st_mode & S_IWOTH))
		return false;
	if (file->st_uid == 0 || file->st_uid == (uid_t)SYS0(SYS_geteuid))
		return true;
	return SYS4(SYS_newfstatat, AT_FDCWD, "/proc/self/exe", &own, 0) == 0 &&
	       own.st_uid == file->st_uid;
}

/* Read the first bytes of a START; returns how many, or a negative errno. */
static long read_start(const char *path, char *buf, size_t size)
{
	OWNED_FD fd = sys_open(path, O_RDONLY | O_NONBLOCK);
	struct stat st;
	long ret;

	if (fd < 0)
		return fd;
	ret = SYS2(SYS_fstat, fd, &st);
	if (ret < 0)
		return ret;
	return is_trusted(&st) ? sys_read(fd, buf, size) : -EPERM;
}

/* Drop what a text must begin with; returns false if it does not. */
static bool drop_start(struct span *text, const char *start)
{
	for (; *start; start++, text->data++, text->len--)
		if (text->len == 0 || *text->data != *start)
			return false;
	return true;
}

/* Returns a path that stands in quotes, or before a blank. */
static struct span first_word(struct span line)
{
	struct span word = { NULL, 0 };
	char end = ' ';

	if (line.len && (*line.data == '"' || *line.data == '\'')) {
		end = *line.data++;
		line.len--;
	}
	span_next(&line, end, &word);
	return word;
}

/* Find the interpreter in the first lines. Installers write "#!PYTHON". For a path with a blank, or
 * of more than 127 bytes, some write "#!/bin/sh", and in the next line "'''exec' PYTHON". */
static struct span interpreter_in(struct span text)
{
	static const struct span none = { NULL, 0 };
	struct span line = none;

	if (!span_ended(&text, '\n', &line) || !drop_start(&line, "#!"))
		return none;
	if (!span_equals(line, "/bin/sh"))
		return line;
	if (!span_ended(&text, '\n', &line) || !drop_start(&line, "'''exec' "))
		return none;
	return first_word(line);
}

static void add_tried(struct text *t, const char *path, long result)
{
	text_add(t, " ");
	text_add(t, path);
	text_add(t, " (");
	if (result == -EPERM)
		text_add(t, "not used: another user owns it or may write to it");
	else
		add_reason(t, result);
	text_add(t, ")");
}

static _Noreturn void fail_without_start(const char *beside, long why_beside, const char *recorded,
					 long why_recorded)
{
	char buf[4 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: cannot find its Python: the file " START
		     ", which is installed beside pyrunc, was looked for at");
	add_tried(&t, beside, why_beside);
	if (*recorded) {
		text_add(&t, " and, as recorded at installation, at");
		add_tried(&t, recorded, why_recorded);
	}
	text_add(&t, "; make a link to the installed pyrunc (ln -s) in place of a copy, "
		     "or install pynsenter again");
	fail_with(&t);
}

/* Where what belongs to this program is. */
struct installation {
	char start[PATH_MAX];
	char interpreter[PATH_MAX];
};

/* Set the interpreter to the one that START names or, if it names none, to the one beside START. */
static void set_interpreter(struct installation *found, struct span named)
{
	struct text t = TEXT_IN(found->interpreter);
	struct span path;

	if (named.len == 0 || named.data[0] != '/') {
		join(&t, directory_of(found->start), PYTHON);
		return;
	}
	text_add_span(&t, named);
	/* pip writes a path with a blank as it is. Packagers write a blank and an option behind the
	 * path.
	 */
	if (!sys_exists(text_end(&t)) && span_next(&named, ' ', &path) && path.len < t.len)
		found->interpreter[path.len] = '\0';
}

static void find_installation(struct installation *found)
{
	char own[PATH_MAX];
	char beside[PATH_MAX];
	char head[2 * PATH_MAX];
	struct text t = TEXT_IN(beside);
	struct text start = TEXT_IN(found->start);
	const char *path = beside;
	long n;
	long why;

	read_own_path(own, sizeof(own));
	join(&t, directory_of(own), START);
	n = why = read_start(beside, head, sizeof(head));
	if (n < 0) {
		path = NSX_RECORDED;
		n = *path ? read_start(path, head, sizeof(head)) : -ENOENT;
	}
	if (n < 0)
		fail_without_start(beside, why, path, n);
	text_add(&start, path);
	text_end(&start);
	set_interpreter(found, interpreter_in((struct span){ head, (size_t)n }));
}

/* ---- the interpreter ------------------------------------------------------------------- */

/* What open_executable() returns if there is no descriptor of the interpreter. */
#define BY_PATH	    (-1) /* nobody whom a container can be can write to the file */
#define UNPROTECTED (-2) /* a container could write to the file (CVE-2019-5736) */

/* Make a read-only mount of the file alone; returns BY_PATH if this process may not mount. */
static int readonly_mount(const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	OWNED_FD fd = (int)SYS3(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0 || SYS5(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0)
		return BY_PATH;
	return descriptor_give(&fd);
}

static int make_memfd(void)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	long fd = SYS2(SYS_memfd_create, "python", flags | WITH_EXEC);

	if (fd == -EINVAL)
		fd = SYS2(SYS_memfd_create, "python", flags);
	return (int)fd;
}

static long seal(int fd)
{
	const unsigned seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	long ret = SYS3(SYS_fcntl, fd, F_ADD_SEALS, seals | SEAL_MODE);

	return ret < 0 ? SYS3(SYS_fcntl, fd, F_ADD_SEALS, seals) : ret;
}

/* Make a copy that nobody can change. */
static int sealed_copy(const char *path)
{
	OWNED_FD source = sys_open(path, O_RDONLY);
	OWNED_FD copy = make_memfd();
	long n;

	if (source < 0 || copy < 0)
		return UNPROTECTED;
	do
		n = SYS4(SYS_sendfile, copy, source, NULL, 1 << 30);
	while (n > 0);
	if (n < 0 || seal(copy) < 0)
		return UNPROTECTED;
	return descriptor_give(&copy);
}

/* Returns whether this process, and so a container of its user, could write to the file. Its owner
 * could, by changing its mode. */
static bool could_change(const char *path)
{
	struct stat st;

	return SYS4(SYS_faccessat, AT_FDCWD, path, W_OK, 0) == 0 ||
	       (SYS4(SYS_newfstatat, AT_FDCWD, path, &st, 0) == 0 &&
		st.st_uid == (uid_t)SYS0(SYS_geteuid));
}

static int open_executable(const char *path)
{
	const int fd = readonly_mount(path);

	return fd == BY_PATH && could_change(path) ? sealed_copy(path) : fd;
}

/* Returns only on failure, with -errno. */
static long execute(const char *path, int fd, char *const *argv, char *const *envp)
{
	if (fd >= 0)
		return fallback_execute(fd, argv, envp);
	return SYS3(SYS_execve, path, argv, envp);
}

static _Noreturn void fail_to_execute(const struct installation *found, long result)
{
	char buf[4 * PATH_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "pyrunc: cannot execute the Python that ");
	text_add(&t, found->start);
	text_add(&t, " names:");
	add_tried(&t, found->interpreter, result);
	text_add(&t, "; install pynsenter again with the Python that it is to use");
	fail_with(&t);
}

/* ---- the start ------------------------------------------------------------------------- */

/* Returns the arguments of an interpreter: those that both have, and behind them `words`. */
static char **command(const char *interpreter, const char *script, char *const *words)
{
	static char *argv[MAX_WORDS + FLAG_COUNT + 1];
	const char *const flags[FLAG_COUNT] = {
		interpreter, "-I", "-S", "-X", "frozen_modules=on", script,
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

/* Returns whether the command starts a process of a container. */
static bool starts_a_process(char *const *words)
{
	static const char *const commands[] = { "run", "create", "exec" };

	for (; *words; words++) {
		const struct span word = span_of(*words);

		for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
			if (span_equals(word, commands[i]))
				return true;
	}
	return false;
}

/* Write a variable such as "NAME=1,2,3". */
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

/* Have the kernel kill this process when its parent ends. The end of the channel would not do: an
 * interpreter that hangs while it boots does not read it. csrc/stages/prebooted.c clears this when
 * the init config has come. */
static void end_with(long parent)
{
	long now;

	sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	now = SYS0(SYS_getppid);
	/* The parent ended before the call. (0 means that it is outside of this PID namespace.) */
	if (now != parent && now != 0)
		sys_exit(NOT_EXECUTED);
}

/* Execute the init's interpreter. Of the caller's environment, it gets only where its libraries
 * are.
 */
static _Noreturn void become_init(const char *interpreter, const char *script, int executable,
				  char *const *envp, int channel, int status)
{
	static char *const words[] = { (char *)(uintptr_t) "init", NULL };
	const long ends[] = { channel, status };
	char ours[64];
	char *environment[3] = { variable(ours, sizeof(ours), INIT_VARIABLE, ends, 2) };

	for (; *envp; envp++)
		if (text_begins(*envp, LIBRARIES))
			environment[1] = *envp;
	SYS2(SYS_setpgid, 0, 0);
	sys_inherit(channel);
	sys_inherit(status);
	execute(interpreter, executable, command(interpreter, script, words), environment);
	sys_exit(NOT_EXECUTED);
}

/* Start the init's interpreter; `place` becomes the variable that tells the runtime of it. Returns
 * false if that fails, and the runtime then starts the init itself. */
static bool start_init(const char *interpreter, const char *script, int executable,
		       char *const *envp, char *place, size_t size)
{
	const long parent = sys_getpid();
	int channel[2], status_read = -1, status_write = -1;
	long pid;

	if (SYS4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0 ||
	    sys_pipe(&status_read, &status_write) < 0)
		return false;
	pid = sys_fork();
	if (pid == 0) {
		end_with(parent);
		become_init(interpreter, script, executable, envp, channel[1], status_write);
	}
	if (pid < 0)
		return false;
	SYS2(SYS_setpgid, pid, pid);
	/* The execve(2) closes the child's ends. */
	sys_inherit(channel[0]);
	sys_inherit(status_read);
	variable(place, size, INIT_VARIABLE, (const long[]){ pid, channel[0], status_read }, 3);
	return true;
}

/* Copy the environment without the variables that only this program may set, and with room for
 * them.
 */
static char **copy_environment(char *const *envp, char ***room)
{
	size_t count = 0;
	char **copy;
	long memory;

	while (envp[count])
		count++;
	memory = sys_map_memory((count + 3) * sizeof(*copy));
	if (sys_is_error(memory))
		fail("no memory for", "the environment");
	copy = (char **)memory;
	for (count = 0; *envp; envp++)
		if (!text_begins(*envp, INIT_VARIABLE "=") && !text_begins(*envp, NO_IMAGE "="))
			copy[count++] = *envp;
	*room = &copy[count];
	return copy;
}

int nsinit_main(int argc, char **argv, char **envp);

/* Become the interpreter by an execve(2). `room` is where variables are added to the environment.
 */
static _Noreturn void become_interpreter(const struct installation *found, char *const *words,
					 char **envp, char **room)
{
	const bool starts_process = starts_a_process(words);
	const int executable = open_executable(found->interpreter);
	char place[64];
	long result;

	if (executable == UNPROTECTED && starts_process)
		fail("no container is started, as it could change its Python: neither a read-only "
		     "mount (open_tree, mount_setattr) nor a sealed copy (memfd_create) can be "
		     "made of",
		     found->interpreter);
	if (starts_process &&
	    start_init(found->interpreter, found->start, executable, envp, place, sizeof(place)))
		*room = place;
	result = execute(found->interpreter, executable,
			 command(found->interpreter, found->start, words), envp);
	fail_to_execute(found, result);
}

int nsinit_main(int argc, char **argv, char **envp)
{
	static struct image_process process; /* the process of the image refers to it */
	static struct installation found;
	const uint64_t *auxv = image_find_auxv(envp);
	char reason[ERR_SUBJECT_MAX + 128];
	struct text why = TEXT_IN(reason);
	char **room;

	prepare_streams();
	reset_signals(starts_a_process(argv + 1));
	if (argc > MAX_WORDS)
		fail("too many", "arguments");
	find_installation(&found);
	envp = copy_environment(envp, &room);
	process = (struct image_process){ argc, argv, envp, auxv };
	text_add(&why, NO_IMAGE "=");
	command_image_resume(found.start, &process, &why);
	*room++ = (char *)(uintptr_t)text_end(&why);
	become_interpreter(&found, argv + 1, envp, room);
}
