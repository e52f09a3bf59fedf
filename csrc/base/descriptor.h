/* SPDX-License-Identifier: Apache-2.0 */
/* Who closes a descriptor, and how to write all of a buffer to one. */
#ifndef NSX_DESCRIPTOR_H
#define NSX_DESCRIPTOR_H

#include "base/sys.h"

/* Close a descriptor that a function owns; a negative number, such as -errno, is none. */
static inline void descriptor_release(const int *fd)
{
	if (*fd >= 0)
		sys_close(*fd);
}

/*
 * A variable that owns its descriptor: the descriptor is closed when the variable goes out of
 * scope, by whichever return.
 *
 * - Initialize it where it is declared, with -1 if there is no descriptor yet. The compiler closes
 *   whatever number happens to be there.
 * - Nothing is closed by sys_exit() or execve(2), because no scope ends there. The kernel closes
 *   the descriptors then.
 * - Do not use it where two processes run the rest of a function after a clone: each of them would
 *   close its own copy at the same place, and the stages must close them at different ones. Those
 *   places call sys_close() and say why.
 *
 * It closes by the system call, and not by close(2) of libc, because nsinit has no libc, and
 * because the child that shares its caller's memory must not change the caller's errno.
 */
#define OWNED_FD __attribute__((cleanup(descriptor_release))) int

/* Take the descriptor out of an OWNED_FD variable, which then no longer owns one: for a function
 * that returns it, or hands it to another owner. */
static inline int descriptor_give(int *fd)
{
	const int given = *fd;

	*fd = -1;
	return given;
}

/* Write all of a buffer. Returns 0, or -errno. */
static inline long descriptor_write_all(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size) {
		const long n = sys_write(fd, at, size);

		if (n <= 0)
			return n < 0 ? n : -EIO;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}

#endif
