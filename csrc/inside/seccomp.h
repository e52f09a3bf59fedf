/* SPDX-License-Identifier: Apache-2.0 */
/* A program of seccomp(2). */
#ifndef NSX_SECCOMP_H
#define NSX_SECCOMP_H

#include "base/err.h"
#include "message/launch.h"

int seccomp_install(const struct launch *launch, struct err *err);

#endif
