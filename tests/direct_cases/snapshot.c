/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot FD [ARGS...]: say on FD all that a program may see of how it was started.
 *
 * Each fact is a line "NAME LENGTH" and then so many bytes. What differs between any two
 * processes (a pid, the number of a namespace) is for the reader to make out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

extern char **environ;

static FILE *out;

static void say(const char *name, const char *data, size_t len)
{
	fprintf(out, "%s %zu\n", name, len);
	fwrite(data, 1, len, out);
}

static __attribute__((format(printf, 2, 3))) void say_text(const char *name, const char *format,
							   ...)
{
	char buf[PATH_MAX + 64];
	va_list args;

	va_start(args, format);
	vsnprintf(buf, sizeof(buf), format, args);
	va_end(args);
	say(name, buf, strlen(buf));
}

static void say_file(const char *name)
{
	static char content[1 << 18];
	char path[64];
	size_t len = 0;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, content + len, sizeof(content) - len)) > 0)
		len += (size_t)n;
	say(name, fd < 0 ? "unreadable" : content, fd < 0 ? 10 : len);
	close(fd);
}

static void say_link(const char *folder, const char *name)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/%s%s", folder, name);
	n = readlink(path, target, sizeof(target));
	snprintf(path, sizeof(path), "%s%s", folder, name);
	say(path, n < 0 ? "unreadable" : target, n < 0 ? 10 : (size_t)n);
}

/* With the flags of each: of the descriptor, and of the open file. */
static void say_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char name[64];
		int fd = atoi(entry->d_name);

		if (entry->d_name[0] == '.' || fd == dirfd(folder))
			continue;
		say_link("fd/", entry->d_name);
		snprintf(name, sizeof(name), "fd_flags/%d", fd);
		say_text(name, "%d %#o", fcntl(fd, F_GETFD), (unsigned)fcntl(fd, F_GETFL));
	}
	closedir(folder);
}

static void say_signals(void)
{
	sigset_t blocked, pending;
	struct sigaction action;
	stack_t stack;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	sigpending(&pending);
	sigaltstack(NULL, &stack);
	say_text("alternate stack", "%d", stack.ss_flags);
	for (int sig = 1; sig < NSIG; sig++) {
		char name[32];

		if (sigaction(sig, NULL, &action) < 0)
			continue; /* libc's own two, which status tells of */
		snprintf(name, sizeof(name), "signal/%d", sig);
		say_text(name, "%s%s%s", action.sa_handler == SIG_DFL ? "default" : "other",
			 sigismember(&blocked, sig) ? " blocked" : "",
			 sigismember(&pending, sig) ? " pending" : "");
	}
}

static void say_process(void)
{
	struct utsname host;
	struct stat owner;
	char cwd[PATH_MAX];
	int death_signal = -1;
	mode_t mask = umask(0);

	umask(mask);
	uname(&host);
	stat("/proc/self/mem", &owner);
	prctl(PR_GET_PDEATHSIG, &death_signal);
	say_text("pid", "%d", getpid());
	say_text("parent", "%d", getppid());
	say_text("session", "%d", getsid(0));
	say_text("process group", "%d", getpgrp());
	say_text("hostname", "%s", host.nodename);
	say_text("domain", "%s", host.domainname);
	say_text("cwd", "%s", getcwd(cwd, sizeof(cwd)) ? cwd : "none");
	say_text("umask", "%#o", mask);
	say_text("death signal", "%d", death_signal);
	say_text("dumpable", "%d", prctl(PR_GET_DUMPABLE));
	say_text("owner", "%u:%u", owner.st_uid, owner.st_gid);
	say_text("secure", "%lu", getauxval(AT_SECURE));
	say_text("executed as", "%s", (const char *)getauxval(AT_EXECFN));
	say_text("secure bits", "%d", prctl(PR_GET_SECUREBITS));
	say_text("no new privileges", "%d", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	say_text("subreaper", "%d", prctl(PR_GET_CHILD_SUBREAPER, &death_signal) | death_signal);
	say_text("timer slack", "%d", prctl(PR_GET_TIMERSLACK));
	say_text("nice", "%d", getpriority(PRIO_PROCESS, 0));
	say_text("scheduler", "%d", sched_getscheduler(0));
}

static void say_words(const char *name, char **words)
{
	for (int i = 0; words[i]; i++) {
		char numbered[32];

		snprintf(numbered, sizeof(numbered), "%s/%d", name, i);
		say(numbered, words[i], strlen(words[i]));
	}
}

int main(int argc, char **argv)
{
	static const char *const files[] = {
		"status",    "stat",	      "uid_map",       "gid_map",
		"setgroups", "comm",	      "cmdline",       "limits",
		"cgroup",    "oom_score_adj", "mountinfo",     "timens_offsets",
		"environ",   "personality",   "timerslack_ns", "coredump_filter",
	};
	static const char *const spaces[] = { "user",	"ipc",	"uts",
					      "net",	"pid",	"mnt",
					      "cgroup", "time", "pid_for_children" };

	char *data;
	size_t len;

	if (argc < 2 || !(out = open_memstream(&data, &len)))
		return 2;
	say_signals();
	say_descriptors();
	say_process();
	say_words("argv", argv);
	say_words("environment", environ);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		say_file(files[i]);
	for (size_t i = 0; i < sizeof(spaces) / sizeof(spaces[0]); i++)
		say_link("ns/", spaces[i]);
	say_link("", "exe");
	say_link("", "root");
	fclose(out);
	return write(atoi(argv[1]), data, len) == (ssize_t)len ? 0 : 3;
}
