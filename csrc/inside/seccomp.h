/* SPDX-License-Identifier: Apache-2.0 */
/* The filter of system calls. */
#ifndef NSX_SECCOMP_H
#define NSX_SECCOMP_H

#include "base/err.h"
#include "message/launch.h"

/* Install it. It holds for every later system call, so this is the last step before the payload. */
int seccomp_install(const struct launch *launch, struct err *err);

#endif
