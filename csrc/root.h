/* SPDX-License-Identifier: Apache-2.0 */
/* The root of the payload, and what is mounted in it. */
#ifndef NSX_ROOT_H
#define NSX_ROOT_H

#include "err.h"
#include "launch.h"

/* In a new mount namespace: mount what is asked for, and have the root that is. */
int root_enter(const struct launch *launch, struct err *err);

#endif
