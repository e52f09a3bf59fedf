/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a program from a process of any size, with any number of threads. */
#ifndef NSX_SPAWN_H
#define NSX_SPAWN_H

#include "err.h"

struct spawn {
	int exe_fd; /* the program: an open descriptor, or -1 and then: */
	const char *exe_path;
	char *const *argv;
	char *const *envp;
	int stdio[3];	     /* which descriptors become 0, 1 and 2 */
	const int *keep_fds; /* which others are inherited, under their own numbers */
	size_t keep_count;
	/* Out: where it failed in the child. */
	struct err err;
};

/* Start it in a process group of its own, with default signal dispositions and nothing
 * blocked. Returns the pid, `*pidfd` close-on-exec; or -1 with spawn->err filled in. */
int spawn_process(struct spawn *spawn, int *pidfd);

#endif
