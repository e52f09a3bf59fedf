/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pyrunc: starts the interpreter that is the runtime, ready sooner and safer than a script would.
 *
 *  - From a memory image, if there is a valid one (csrc/interpreter/command_image.c). Otherwise:
 *  - Beside it the interpreter of the init, where there is to be one: it boots while the runtime
 *    finds out what the init is to be (nsenter/_interpreter/prebooted.py).
 *  - Without site, which takes longer than the rest of a container's start.
 *  - By a read-only mount of the interpreter that nobody else has, or a sealed copy of it: a
 *    container that gets at its init through /proc/self/exe cannot write to it (CVE-2019-5736).
 *
 * Static and without libc, as nsinit is. It is the same file in every environment: which Python
 * and which package it belongs to is said by the file START beside it, whose first line,
 * "#!PYTHON", the installer writes (libcontainer/pyrunc/find.py). The current directory and the
 * environment have no say. A copy of this program uses the START that was recorded when it was
 * built.
 */
#include <limits.h>
#include <linux/mount.h>
#include <sys/stat.h>

#include "base/fallback.h"
#include "interpreter/command_image.h"

#ifndef NSX_RECORDED
#define NSX_RECORDED "" /* the path of START, if it was known when this was built */
#endif

#define START	   "pyrunc-start"
#define PYTHON	   "python3"
#define MAX_WORDS  4096
#define FLAG_COUNT 6

/* For libcontainer/pyrunc/start.py. */
#define INIT_VARIABLE "_PYRUNC_INIT"
#define NO_IMAGE      "_PYRUNC_NO_IMAGE"
#define LIBRARIES     "LD_LIBRARY_PATH="

static _Noreturn void fail_with(struct text *t)
{
	text_add(t, "\n");
	sys_write(2, t->data, t->len);
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

static void inherit(int fd)
{
	SYS3(SYS_fcntl, fd, F_SETFD, 0);
}

/* ---- the streams ------------------------------------------------------------------------- */

static bool is_directory(int fd)
{
	struct stat st;

	return SYS2(SYS_fstat, fd, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A descriptor that is opened later must not become a stream because the caller has closed that:
 * what it means would then depend on the caller. Go's programs, runc among them, do the same. A
 * directory is no stream, Python does not start with one, and no container is to have one of the
 * host's: with that it could walk out of its root. */
static void prepare_streams(void)
{
	long fd;

	for (fd = 0; fd <= 2; fd++)
		if (is_directory((int)fd))
			sys_close((int)fd);
	while ((fd = sys_open("/dev/null", O_RDWR)) >= 0 && fd <= 2)
		inherit((int)fd);
	if (fd >= 0)
		sys_close((int)fd);
}

/* A caller that ignores SIGCHLD makes the kernel reap our children, whose status nobody learns
 * then; one that blocks signals would have none of them passed on to the container.
 *
 * With `keep`, signals that the caller ignores are blocked: so the kernel does not drop those that
 * come before libcontainer/pyrunc/signals.py passes them on. */
static void reset_signals(bool keep)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };
	uint64_t blocked = 0;

	sys_sigaction(SIGCHLD, &by_default, NULL);
	for (int sig = 1; keep && sig <= 64; sig++)
		if (sys_is_ignored(sig))
			blocked |= (uint64_t)1 << (sig - 1);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, sizeof(blocked));
}

/* ---- what belongs to this program -------------------------------------------------------- */

static const char *join(struct text *t, struct span folder, const char *rest)
{
	text_add_span(t, folder);
	text_add(t, rest);
	return text_end(t);
}

/* The directory of a path, with the slash at its end. */
static struct span directory_of(const char *path)
{
	size_t n = text_length(path);

	while (n > 0 && path[n - 1] != '/')
		n--;
	return (struct span){ path, n };
}

/* Where this program is, whatever links led to it. */
static void read_own_path(char *buf, size_t size)
{
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", buf, size - 1);

	if (n <= 0 || (size_t)n == size - 1)
		fail("cannot read", "/proc/self/exe: is /proc mounted?");
	buf[n] = '\0';
}

/* Nobody put it there but root, who owns this program, or who runs it: a copy of this program may
 * be in a directory that anybody can write to. */
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
	struct stat st;
	long fd = sys_open(path, O_RDONLY | O_NONBLOCK);
	long n;

	if (fd < 0)
		return fd;
	n = SYS2(SYS_fstat, fd, &st);
	if (n == 0)
		n = is_trusted(&st) ? sys_read((int)fd, buf, size) : -EPERM;
	sys_close((int)fd);
	return n;
}

/* Take the interpreter out of the first lines. Installers write "#!PYTHON"; for a path with a
 * blank or of more than 127 bytes some write "#!/bin/sh", and in the next line "'''exec' PYTHON".
 */
static struct span interpreter_in(struct span text)
{
	const char *sh_line = "'''exec' ";
	struct span line = { NULL, 0 };
	char end;

	if (!span_ended(&text, '\n', &line) || line.len < 3 || line.data[0] != '#' ||
	    line.data[1] != '!')
		return (struct span){ NULL, 0 };
	line.data += 2;
	line.len -= 2;
	if (!span_equals(line, "/bin/sh"))
		return line;
	if (!span_ended(&text, '\n', &line))
		return (struct span){ NULL, 0 };
	for (; *sh_line; sh_line++, line.data++, line.len--)
		if (line.len == 0 || *line.data != *sh_line)
			return (struct span){ NULL, 0 };
	end = line.len && (*line.data == '"' || *line.data == '\'') ? *line.data : ' ';
	if (end != ' ') {
		line.data++;
		line.len--;
	}
	return span_next(&line, end, &text) ? text : (struct span){ NULL, 0 };
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

/* Where everything is. */
struct installation {
	char start[PATH_MAX];
	char interpreter[PATH_MAX];
};

/* The interpreter that START names or, if that is no path of this machine, the one beside it. */
static void set_interpreter(struct installation *found, struct span named)
{
	struct text t = TEXT_IN(found->interpreter);
	struct span path;

	if (named.len == 0 || named.data[0] != '/') {
		join(&t, directory_of(found->start), PYTHON);
		return;
	}
	text_add_span(&t, named);
	/* A blank is part of the path, as pip writes it, or, as packagers do, before an option. */
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

/* In place of a descriptor: its path alone, which a container could write to (CVE-2019-5736). */
#define UNPROTECTED (-2)

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
		return UNPROTECTED;
	do
		n = SYS4(SYS_sendfile, copy, source, 0, 1 << 30);
	while (n > 0);
	sys_close((int)source);
	/* F_SEAL_EXEC, which keeps its mode, is of Linux 6.3 too. */
	if (n < 0 || (SYS3(SYS_fcntl, copy, F_ADD_SEALS, seals | 0x20U) < 0 &&
		      SYS3(SYS_fcntl, copy, F_ADD_SEALS, seals) < 0)) {
		sys_close((int)copy);
		return UNPROTECTED;
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

/* -1: its path is good enough. UNPROTECTED: it is not, but there is nothing better. */
static int open_executable(const char *path)
{
	int fd = readonly_mount(path);

	return fd < 0 && could_change(path) ? sealed_copy(path) : fd;
}

/* Returns only on failure, why. */
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

/* What both interpreters are started with, and behind it the words of one of them. */
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

/* Commands that start a process of a container. */
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

/* Have the kernel kill this process when its parent ends: an interpreter that hangs while it boots
 * does not read the channel. csrc/stages/prebooted.c clears this when the init config has come. */
static void end_with(long parent)
{
	long now;

	sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	now = SYS0(SYS_getppid);
	/* The parent ended before the call. (0 means that it is outside of this PID namespace.) */
	if (now != parent && now != 0)
		sys_exit(127);
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
		if (text_begins(*envp, LIBRARIES))
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
	long parent = SYS0(SYS_getpid);
	long pid;

	if (SYS4(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0)
		return false;
	if (SYS2(SYS_pipe2, status, O_CLOEXEC) < 0)
		return false;
	pid = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		end_with(parent);
		become_init(interpreter, script, executable, envp, channel[1], status[1]);
	}
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
	memory = SYS6(SYS_mmap, 0, (count + 3) * sizeof(*copy), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory < 0 && memory > -4096)
		fail("no memory for", "the environment");
	copy = (char **)memory;
	for (count = 0; *envp; envp++)
		if (!text_begins(*envp, INIT_VARIABLE "=") && !text_begins(*envp, NO_IMAGE "="))
			copy[count++] = *envp;
	*room = &copy[count];
	return copy;
}

int nsinit_main(int argc, char **argv, char **envp);

int nsinit_main(int argc, char **argv, char **envp)
{
	static struct image_process process; /* the image's process refers to it */
	static struct installation found;
	const uint64_t *auxv = image_find_auxv(envp);
	char place[64];
	char reason[ERR_SUBJECT_MAX + 128];
	struct text why = TEXT_IN(reason);
	char **room;
	int executable;
	long result;

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
	executable = open_executable(found.interpreter);
	if (executable == UNPROTECTED && starts_a_process(argv + 1))
		fail("no container is started, as it could change its Python: neither a read-only "
		     "mount (open_tree, mount_setattr) nor a sealed copy (memfd_create) can be "
		     "made of",
		     found.interpreter);
	if (starts_a_process(argv + 1) &&
	    start_init(found.interpreter, found.start, executable, envp, place, sizeof(place)))
		*room = place;
	result = execute(found.interpreter, executable,
			 command(found.interpreter, found.start, argv + 1), envp);
	fail_to_execute(&found, result);
}
