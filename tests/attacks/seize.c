/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seize SECONDS DEV INO: an attacker in a container that has CAP_SYS_PTRACE.
 *
 * It seizes each process that joins the container's PID namespace as early as it can (hold.c has
 * the joiner wait for that at its birth), stops it at every system call until it executes a
 * program, and looks at what it could take from it: its
 * descriptors (by /proc/PID/fd/N, by that path with ".." behind it, and by pidfd_getfd(2)), its
 * root, its working directory, its executable, and its capabilities. From each directory it goes
 * up as far as that leads. DEV and INO are of the host's root.
 *
 * It prints "waiting NAMESPACE" when it begins. Then, each once: "place PID WHAT LINK: WHY" for
 * what names a place or a file of the host, "caps PID NAME PRM EFF BND" (hexadecimal), and "seized
 * PID NAME LOOKS" for each joiner.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_UP	   64 /* directories on the way to a root */
#define MOST_SAID  4096
#define GUESSES	   8		/* pids are given out in order */
#define PATIENCE   5000000000LL /* ns that a joiner may be in one system call */
#define A_REST	   100		/* us between two tries */
#define TRACE	   (PTRACE_O_TRACEEXEC | PTRACE_O_TRACESYSGOOD)
#define OWN_MEMORY "/memfd:"

static struct stat host, own;
static int joiner; /* who is looked at */

/* ---- saying each thing once ---------------------------------------------------------- */

static char *said[MOST_SAID];
static size_t said_count;

static void say(const char *line)
{
	for (size_t i = 0; i < said_count; i++)
		if (strcmp(said[i], line) == 0)
			return;
	if (said_count < MOST_SAID)
		said[said_count++] = strdup(line);
	puts(line);
}

static void say_place(const char *what, const char *link, const char *why)
{
	char line[1024];

	snprintf(line, sizeof(line), "place %d %s %.400s: %s", joiner, what, link, why);
	say(line);
}

/* ---- directories --------------------------------------------------------------------- */

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* How many entries a directory has; -1 where it cannot be listed. */
static int count_entries(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY);
	DIR *folder = copy < 0 ? NULL : fdopendir(copy);
	int count = 0;

	if (!folder) {
		if (copy >= 0)
			close(copy);
		return -1;
	}
	while (readdir(folder))
		count++;
	closedir(folder);
	return count - 2;
}

/* Go up from a directory. What is no place of the host ends at the container's own root, or has
 * nothing above it and nothing in it. */
static const char *climb(int start)
{
	const char *why = NULL;
	struct stat here, above;
	int fd = dup(start);

	if (fd < 0 || fstat(fd, &here) < 0 || !S_ISDIR(here.st_mode)) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	for (int i = 0; i < MOST_UP; i++) {
		int up = openat(fd, "..", O_PATH | O_DIRECTORY);

		if (up < 0 || fstat(up, &above) < 0) {
			why = "it has a parent that cannot be looked at";
			break;
		}
		close(fd);
		fd = up;
		if (same(&here, &above) && i > 0)
			break;
		here = above;
	}
	if (!why && same(&here, &host))
		why = "it leads to the root of the host";
	else if (!why && !same(&here, &own) && count_entries(fd) != 0)
		why = "it leads out of the container";
	close(fd);
	return why;
}

static void try_directory(int fd, const char *what, const char *link)
{
	const char *why = climb(fd);

	if (why)
		say_place(what, link, why);
}

/* `path` is a magic link below /proc/PID. */
static void try_path(const char *path, const char *what)
{
	char link[512] = "";
	char above[600];
	int fd;

	if (readlink(path, link, sizeof(link) - 1) < 0)
		return;
	fd = open(path, O_PATH | O_DIRECTORY);
	if (fd >= 0) {
		try_directory(fd, what, link);
		close(fd);
	}
	snprintf(above, sizeof(above), "%s/..", path);
	fd = open(above, O_PATH | O_DIRECTORY);
	if (fd >= 0) {
		try_directory(fd, what, link);
		close(fd);
	}
}

/* ---- files --------------------------------------------------------------------------- */

/* What is behind `name` at the beginning of a line, as a number; -1 where there is no such line. */
static long number_in(const char *path, const char *name)
{
	FILE *file = fopen(path, "r");
	char line[1024];
	long number = -1;

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, name, strlen(name)) == 0)
			number = strtol(line + strlen(name), NULL, 10);
	if (file)
		fclose(file);
	return number;
}

/* Whether a mount is one of the container's own. */
static bool is_own_mount(long id)
{
	char name[32];

	snprintf(name, sizeof(name), "%ld ", id);
	return number_in("/proc/self/mountinfo", name) >= 0;
}

/* A file that has a name on a mount of the host. */
static void try_file(int pid, int number, const char *what)
{
	char path[64], info[64], link[512] = "";
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, number);
	snprintf(info, sizeof(info), "/proc/%d/fdinfo/%d", pid, number);
	if (readlink(path, link, sizeof(link) - 1) < 0 || link[0] != '/' || stat(path, &st) < 0 ||
	    S_ISDIR(st.st_mode) || strncmp(link, OWN_MEMORY, strlen(OWN_MEMORY)) == 0)
		return;
	if (!is_own_mount(number_in(info, "mnt_id:")))
		say_place(what, link, "it is a file of the host");
}

/* That a program is busy while it runs is no protection once it has ended (CVE-2019-5736). */
static void try_program(int pid)
{
	char path[64], link[512] = "";
	struct statvfs mount;
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (readlink(path, link, sizeof(link) - 1) < 0 || stat(path, &st) < 0 ||
	    st.st_dev == own.st_dev || strncmp(link, OWN_MEMORY, strlen(OWN_MEMORY)) == 0)
		return;
	if (statvfs(path, &mount) < 0 || !(mount.f_flag & ST_RDONLY))
		say_place("exe", link, "it is a program that can be written to");
}

/* ---- a process ----------------------------------------------------------------------- */

static void look_at_descriptors(int pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	char path[64];
	DIR *folder;
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		char file[400], what[32];
		int number = atoi(entry->d_name);
		int taken;

		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%d", path, number);
		snprintf(what, sizeof(what), "fd/%d", number);
		try_path(file, what);
		if (number > 2)
			try_file(pid, number, what);
		taken = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
		if (taken >= 0) {
			try_directory(taken, what, "by pidfd_getfd");
			close(taken);
		}
	}
	if (folder)
		closedir(folder);
	if (pidfd >= 0)
		close(pidfd);
}

static const char *field(const char *status, const char *name, char *out, size_t size)
{
	const char *at = strstr(status, name);
	size_t len;

	out[0] = '\0';
	if (!at)
		return out;
	at += strlen(name);
	at += strspn(at, ":\t ");
	len = strcspn(at, "\n");
	if (len >= size)
		len = size - 1;
	memcpy(out, at, len);
	out[len] = '\0';
	return out;
}

static void look_at_capabilities(int pid, char *name, size_t size)
{
	char path[64], status[8192], line[256], prm[32], eff[32], bnd[32];
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	fd = open(path, O_RDONLY);
	n = fd < 0 ? -1 : read(fd, status, sizeof(status) - 1);
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	status[n] = '\0';
	field(status, "Name", name, size);
	snprintf(line, sizeof(line), "caps %d %s %s %s %s", pid, name,
		 field(status, "CapPrm", prm, sizeof(prm)),
		 field(status, "CapEff", eff, sizeof(eff)),
		 field(status, "CapBnd", bnd, sizeof(bnd)));
	say(line);
}

static void look(int pid, char *name, size_t size)
{
	static const char *const places[] = { "root", "cwd" };
	char path[64];

	look_at_capabilities(pid, name, size);
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		snprintf(path, sizeof(path), "/proc/%d/%s", pid, places[i]);
		try_path(path, places[i]);
	}
	try_program(pid);
	look_at_descriptors(pid);
}

static long long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* Wait for its next stop; false where it goes on too long, or has ended. */
static bool wait_for_stop(int pid, int *status)
{
	long long end = now() + PATIENCE;
	int got;

	while ((got = waitpid(pid, status, __WALL | WNOHANG)) == 0) {
		if (now() > end)
			return false;
		usleep(A_REST);
	}
	return got == pid && WIFSTOPPED(*status);
}

/* From the moment it is seized to its program, or its end. */
static void follow(int pid)
{
	char name[64] = "?";
	char line[128];
	bool is_program = false;
	int looks = 0;
	int status;

	joiner = pid;
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	while (wait_for_stop(pid, &status)) {
		int sig = WSTOPSIG(status);

		is_program = status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8);
		if (is_program)
			break;
		look(pid, name, sizeof(name));
		if (looks++ == 0)
			kill(pid, SIGCONT); /* hold.c stopped it */
		if (status >> 16 || sig == (SIGTRAP | 0x80))
			sig = 0;
		ptrace(PTRACE_SYSCALL, pid, 0, sig);
	}
	if (!is_program && ptrace(PTRACE_INTERRUPT, pid, 0, 0) == 0)
		wait_for_stop(pid, &status);
	ptrace(PTRACE_DETACH, pid, 0, 0);
	snprintf(line, sizeof(line), "seized %d %s %d", pid, name, looks);
	say(line);
}

int main(int argc, char **argv)
{
	char namespace[64] = "";
	int last = getpid();
	long long end;

	if (argc != 4)
		return 2;
	end = now() + atoi(argv[1]) * 1000000000LL;
	host.st_dev = (dev_t)strtoull(argv[2], NULL, 10);
	host.st_ino = (ino_t)strtoull(argv[3], NULL, 10);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (stat("/", &own) < 0)
		return 2;
	if (readlink("/proc/self/ns/pid", namespace, sizeof(namespace) - 1) < 0)
		return 2;
	printf("waiting %s\n", namespace);
	while (now() < end) {
		for (int pid = last + 1; pid <= last + GUESSES; pid++) {
			if (ptrace(PTRACE_SEIZE, pid, 0, TRACE) < 0)
				continue;
			follow(pid);
			last = pid;
			break;
		}
		usleep(A_REST);
	}
	puts("done");
	return 0;
}
