/* SPDX-License-Identifier: Apache-2.0 */
/* The shortest way to start a program in new namespaces: without stages. */
#ifndef NSX_DIRECT_H
#define NSX_DIRECT_H

#include "message/wire.h"
#include "products/spawn.h"

#define DIRECT_DECLINED (-2)

/* Start spawn->argv as the two messages say, in a child that shares the caller's memory until it
 * executes. Returns the pid, -1 as spawn_process() does, or DIRECT_DECLINED if the stages are
 * needed; then nothing was done. */
int direct_launch(struct spawn *spawn, struct span bootstrap, struct span launch, int *pidfd);

#endif
