/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the id maps of a new user namespace from outside it. */
#ifndef NSX_WRITE_MAPS_H
#define NSX_WRITE_MAPS_H

#include "message/bootstrap.h"

/* Set the setgroups policy and both maps of the process `pid`, directly or, where that is not
 * permitted and the message names them, by newuidmap(1) and newgidmap(1). A tool is killed when its
 * time is up, or when the other end of `init_fd`, the init pipe, is gone. */
int maps_write(const struct bootstrap *boot, int pid, int init_fd, int tool_timeout_ms,
	       struct err *err);

/* The maps of the calling process, who is alone in its user namespace. Without privilege over the
 * parent it may map one id, the one it has there, and gids only without setgroups(2). */
int maps_write_own(const struct bootstrap *boot, struct err *err);

#endif
