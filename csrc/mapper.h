/* SPDX-License-Identifier: Apache-2.0 */
/* Writing the id maps of a new user namespace from outside it. */
#ifndef NSX_MAPPER_H
#define NSX_MAPPER_H

#include "bootstrap.h"

/* Set the setgroups policy and both maps of the process `pid`, directly or, where that is not
 * permitted and the message names them, by newuidmap(1) and newgidmap(1). */
int mapper_write(const struct bootstrap *boot, int pid, int tool_timeout_ms, struct err *err);

#endif
