/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program from a process of any size, with any number of threads. */
#ifndef NSX_SPAWN_H
#define NSX_SPAWN_H

#include "base/err.h"

struct spawn {
	/* The program: an open descriptor; or -1, and then it is the one with the name exe_path, or
	 * argv[0] if that is NULL. */
	int exe_fd;
	const char *exe_path;
	char *const *argv;
	char *const *envp;
	int stdio[3];	     /* which descriptors become 0, 1 and 2 */
	const int *keep_fds; /* which others are inherited, under their own numbers */
	size_t keep_count;
	uint64_t keep_ignored; /* signals that stay ignored if they are; bit 0 is signal 1 */

	/* What the caller does for the child, which waits for it; NULL: nothing. */
	int (*outside)(const struct spawn *spawn, int pid, struct err *err);
	/* What the child does before its descriptors are put in place; NULL: it becomes the leader
	 * of a process group. It shares the caller's memory, and may only make system calls by
	 * base/sys.h. */
	int (*inside)(const struct spawn *spawn, struct err *err);
	/* What it does after that; NULL: nothing. */
	int (*last)(const struct spawn *spawn, struct err *err);
	bool dies_with_caller; /* also after it has executed */
	const void *context;
	uint32_t clone_flags;
	/* Set by spawn_process(). */
	int caller;	 /* readable when the caller has ended: a pidfd, or the end of a pipe */
	int caller_end;	 /* the other end of that pipe, which only the caller keeps; or -1 */
	uint32_t gate;	 /* 1 when the child, which waits for `outside`, may go on */
	uint32_t shares; /* 0 when the child no longer has the caller's memory */

	/* Out. */
	bool executing;	   /* the child has come to its execve(2) */
	int child_signal;  /* the signal that killed it before that, or 0 */
	bool child_failed; /* `err` is the child's */
	bool refused;	   /* `outside` has failed, and `err` says why */
	struct err err;
};

/* Make an array that ends in NULL of `count` strings that lie one behind the other, each with its
 * NUL. */
void spawn_split(char *strings, size_t count, char **array);

/* Start it with default signal dispositions and no signal blocked. Returns the pid, and the pidfd,
 * which is close-on-exec; or -1 after it has filled in spawn->err and collected the process. */
int spawn_process(struct spawn *spawn, int *pidfd);

#endif
