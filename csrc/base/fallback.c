/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fallback.h"

#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/descriptor.h"
#include "base/text.h"

#define FOLDER "/proc/self/fd"

/* getdents64(2) */
struct entry {
	uint64_t inode;
	int64_t offset;
	unsigned short size;
	unsigned char type;
	char name[];
};

/* ---- descriptors ---------------------------------------------------------------------- */

/* The directory listing that fallback_prepare() has opened, or -1. */
static int prepared = -1;

/*
 * Returns whether a directory of a procfs lists the descriptors of this process. A container
 * chooses what is mounted on its /proc, and can show the descriptors of another process there; this
 * process would then close the numbers of that one, and keep its own open. So this process makes a
 * pipe, which no other process has, and looks for it in the directory.
 */
static bool lists_own(int folder)
{
	char buf[16];
	struct text name = TEXT_IN(buf);
	struct stat listed = { 0 }, own = { 0 };
	OWNED_FD read_end = -1, write_end = -1;

	if (sys_pipe(&read_end, &write_end) < 0)
		return false;
	text_add_number(&name, read_end);
	return SYS4(SYS_newfstatat, folder, text_end(&name), &listed, 0) == 0 &&
	       SYS2(SYS_fstat, read_end, &own) == 0 && listed.st_dev == own.st_dev &&
	       listed.st_ino == own.st_ino;
}

static int open_listing(void)
{
	struct statfs fs = { 0 };
	OWNED_FD fd = sys_open(FOLDER, O_RDONLY | O_DIRECTORY);

	if (fd < 0)
		return fd;
	if (SYS2(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC || !lists_own(fd))
		return -ENOENT;
	return descriptor_give(&fd);
}

void fallback_prepare(void)
{
	/* No descriptor has the number ~0, so this closes nothing. */
	if (is_refused(sys_close_range(~0U, ~0U, CLOSE_NOW)))
		prepared = open_listing();
}

void fallback_release(void)
{
	if (prepared >= 0)
		sys_close(prepared);
	prepared = -1;
}

static long close_listed(const char *name, unsigned first, unsigned last, unsigned flags, int own)
{
	struct span word = span_of(name);
	uint64_t fd;

	if (!parse_decimal(word, INT32_MAX, &fd) || fd < first || fd > last || (int)fd == own)
		return 0;
	if (flags & CLOSE_RANGE_CLOEXEC)
		return SYS3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
	sys_close((int)fd);
	return 0;
}

/* The kernel lists descriptors in the order of their numbers: when one is closed, it does not pass
 * over another. */
static long close_each(int folder, unsigned first, unsigned last, unsigned flags)
{
	_Alignas(struct entry) char buf[1024];
	long got;

	while ((got = SYS3(SYS_getdents64, folder, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < got;) {
			const struct entry *entry = (const struct entry *)(buf + at);
			long ret = close_listed(entry->name, first, last, flags, folder);

			if (ret < 0)
				return ret;
			at += entry->size;
		}
	}
	return got;
}

long fallback_close_range(unsigned first, unsigned last, unsigned flags)
{
	long ret = sys_close_range(first, last, flags);
	OWNED_FD folder = -1;

	if (!is_refused(ret))
		return ret;
	if (prepared >= 0) {
		ret = SYS3(SYS_lseek, prepared, 0, SEEK_SET);
		return ret < 0 ? ret : close_each(prepared, first, last, flags);
	}
	folder = open_listing();
	if (folder < 0)
		return ret;
	return close_each(folder, first, last, flags);
}

/* ---- the others ------------------------------------------------------------------------- */

long fallback_set_filter(const struct sock_fprog *program, unsigned flags)
{
	long ret = SYS3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);

	if (!is_refused(ret) || flags != 0)
		return ret;
	return SYS5(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0 ? ret : 0;
}

long fallback_execute(int fd, char *const *argv, char *const *envp)
{
	char buf[sizeof(FOLDER) + 16];
	struct text path = TEXT_IN(buf);
	long ret = SYS5(SYS_execveat, fd, "", argv, envp, AT_EMPTY_PATH);
	long again;

	if (!is_refused(ret))
		return ret;
	text_add(&path, FOLDER "/");
	text_add_number(&path, fd);
	again = SYS3(SYS_execve, text_end(&path), argv, envp);
	return again == -ENOENT ? ret : again; /* ENOENT: there is no /proc */
}

void fallback_kill(int pidfd, int pid)
{
	if (is_refused(SYS4(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0)))
		SYS2(SYS_kill, pid, SIGKILL);
}
