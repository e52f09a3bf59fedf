/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that fall back to an older one. The filter of a container around us may refuse the
 * newer call with ENOSYS or EPERM. If EPERM was the kernel's own answer, the older call gives it
 * again.
 */
#ifndef NSX_FALLBACK_H
#define NSX_FALLBACK_H

#include <linux/filter.h>

#include "base/sys.h"

static inline bool is_refused(long ret)
{
	return ret == -ENOSYS || ret == -EPERM;
}

/* A flag of fallback_close_range(); the other is CLOSE_RANGE_CLOEXEC. */
#define CLOSE_NOW 0U

/* close_range(2). If that is refused, each descriptor that /proc/self/fd lists is closed. If
 * that does not list those of this process, the call fails, so that no descriptor stays open
 * unnoticed. */
long fallback_close_range(unsigned first, unsigned last, unsigned flags);

/* Before a mount namespace is joined, whose /proc may not know this process: open the listing that
 * fallback_close_range() will use, if it is going to need one. fallback_release() closes it. */
void fallback_prepare(void);
void fallback_release(void);

/* seccomp(2) with a filter; prctl(2) takes one without flags. */
long fallback_set_filter(const struct sock_fprog *program, unsigned flags);

/* execveat(2) of an open file; returns only on failure. */
long fallback_execute(int fd, char *const *argv, char *const *envp);

/* SIGKILL for a child that is not reaped yet, so that its pid is nobody else's. */
void fallback_kill(int pidfd, int pid);

#endif
