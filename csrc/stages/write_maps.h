/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the id maps of a new user namespace from outside it. */
#ifndef NSX_WRITE_MAPS_H
#define NSX_WRITE_MAPS_H

#include "message/bootstrap.h"

/* Set the setgroups policy and both maps of the process `pid`. If it is not permitted to write
 * them, and the message names newuidmap(1) and newgidmap(1), those do. A tool is killed when its
 * time is up, or when the other end of `init_fd`, the init pipe, is closed. */
int maps_write(const struct bootstrap *boot, int pid, int init_fd, int tool_timeout_ms,
	       struct err *err);

/* Write the maps of the calling process, which is alone in its user namespace. Without privileges
 * in the parent namespace it may map one id, its own, and gids only if setgroups(2) is denied. */
int maps_write_own(const struct bootstrap *boot, struct err *err);

#endif
