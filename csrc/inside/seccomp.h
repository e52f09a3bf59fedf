/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of system calls. */
#ifndef NSX_SECCOMP_H
#define NSX_SECCOMP_H

#include "base/err.h"
#include "message/launch.h"

/* Install it. It holds for every later system call, so this is the last step before the payload.
 * If a listener is asked for, it is sent away: the filter must allow sendmsg(2) and close(2). */
int seccomp_install(const struct launch *launch, struct err *err);

/* Send a message, with the listener of a filter beside its first byte. Returns 0 or -errno. */
long seccomp_send_listener(int socket, struct span message, int listener);

#endif
