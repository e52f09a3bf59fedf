/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program from a process of any size, with any number of threads. */
#ifndef NSX_SPAWN_H
#define NSX_SPAWN_H

#include "base/err.h"

struct spawn {
	/* The program: an open descriptor, or -1 and then a name: exe_path, or NULL for argv[0]. */
	int exe_fd;
	const char *exe_path;
	char *const *argv;
	char *const *envp;
	int stdio[3];	     /* which descriptors become 0, 1 and 2 */
	const int *keep_fds; /* which others are inherited, under their own numbers */
	size_t keep_count;
	uint64_t keep_ignored; /* signals that stay ignored if they are: bit 0 is signal 1 */

	/* What the caller does to the child before that goes on; NULL: nothing. */
	int (*outside)(const struct spawn *spawn, int pid, struct err *err);
	/* What the child does before its descriptors are put in place; NULL: it becomes the leader
	 * of a process group. It shares the caller's memory: system calls by base/sys.h, no more.
	 */
	int (*inside)(const struct spawn *spawn, struct err *err);
	/* And when they are; NULL: nothing. */
	int (*last)(const struct spawn *spawn, struct err *err);
	bool dies_with_caller; /* not only until it executes */
	const void *context;
	uint32_t clone_flags;
	int caller;	 /* its pidfd, made here; or a pipe, and */
	int caller_end;	 /* the end of it that is open for as long as the caller lives, or -1 */
	uint32_t gate;	 /* of the child that waits for `outside`: 1 when it may go on */
	uint32_t shares; /* 0 when the child has the caller's memory no more */

	/* Out. */
	bool executing;	   /* the child has come to its execve */
	int child_signal;  /* what killed it before that, or 0 */
	bool child_failed; /* `err` is the child's */
	bool refused;	   /* `outside` has failed, and `err` is its */
	struct err err;
};

/* `count` strings that lie one behind the other, each with its NUL, as an array that ends in NULL.
 */
void spawn_split(char *strings, size_t count, char **array);

/* Start it with default signal dispositions and nothing blocked. Returns the pid, `*pidfd`
 * close-on-exec; or -1 with spawn->err filled in, and no process left. */
int spawn_process(struct spawn *spawn, int *pidfd);

#endif
