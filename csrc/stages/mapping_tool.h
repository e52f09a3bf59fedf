/* SPDX-License-Identifier: Apache-2.0 */
/* newuidmap(1) and newgidmap(1): setuid programs that write id maps which a user may not write. */
#ifndef NSX_MAPPING_TOOL_H
#define NSX_MAPPING_TOOL_H

#include "base/err.h"

/* Run the tool on a map that has passed idmap_check(), and wait for it until `timeout_ms` have
 * passed, or the other end of `init_fd`, a socket, is closed. The error has what it writes to its
 * stderr. */
int mapping_tool_run(struct span path, int pid, struct span map, int init_fd, int timeout_ms,
		     struct err *err);

#endif
