/* SPDX-License-Identifier: Apache-2.0 */
/* A program of seccomp(2). */
#ifndef NSX_FILTER_H
#define NSX_FILTER_H

#include "err.h"
#include "launch.h"

int filter_install(const struct launch *launch, struct err *err);

#endif
