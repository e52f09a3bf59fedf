/* SPDX-License-Identifier: Apache-2.0 */
#include "older.h"

#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/statfs.h>

#include "text.h"

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

/* A listing that somebody else has put there would leave descriptors out. */
static long open_listing(void)
{
	struct statfs fs = { 0 };
	long fd = sys_open(FOLDER, O_RDONLY | O_DIRECTORY);
	long ret = fd < 0 ? fd : SYS2(SYS_fstatfs, fd, &fs);

	if (fd >= 0 && (ret < 0 || fs.f_type != PROC_SUPER_MAGIC)) {
		sys_close((int)fd);
		return -ENOENT;
	}
	return fd;
}

static long close_listed(const char *name, unsigned first, unsigned last, unsigned flags, int own)
{
	struct span word = { name, text_length(name) };
	uint64_t fd;

	if (!parse_decimal(word, INT32_MAX, &fd) || fd < first || fd > last || (int)fd == own)
		return 0;
	if (flags & CLOSE_RANGE_CLOEXEC)
		return SYS3(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
	sys_close((int)fd);
	return 0;
}

/* The entries are ordered by number, and an entry that goes does not move the others. */
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

long older_close_range(unsigned first, unsigned last, unsigned flags)
{
	long ret = sys_close_range(first, last, flags);
	long folder;

	if (!is_refused(ret))
		return ret;
	folder = open_listing();
	if (folder < 0)
		return ret;
	ret = close_each((int)folder, first, last, flags);
	sys_close((int)folder);
	return ret;
}

/* ---- the others ------------------------------------------------------------------------- */

long older_set_filter(const struct sock_fprog *program, unsigned flags)
{
	long ret = SYS3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, program);

	if (!is_refused(ret) || flags != 0)
		return ret;
	return SYS5(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) < 0 ? ret : 0;
}

long older_execute(int fd, char *const *argv, char *const *envp)
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
	return again == -ENOENT ? ret : again; /* there is no /proc */
}

void older_kill(int pidfd, int pid)
{
	if (is_refused(SYS4(SYS_pidfd_send_signal, pidfd, SIGKILL, 0, 0)))
		SYS2(SYS_kill, pid, SIGKILL);
}
