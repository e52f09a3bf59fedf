/* SPDX-License-Identifier: Apache-2.0 */
/* Who the payload is: groups, ids, capabilities. */
#ifndef NSX_IDENTITY_H
#define NSX_IDENTITY_H

#include "err.h"
#include "launch.h"

int identity_take_on(const struct launch *launch, struct err *err);

/* Keep no capability but these bits, none of them inheritable. */
int identity_keep_only(uint64_t mask, struct err *err);

/* Give up what the launch message says that stage 2 has no use for. An execve(2) as root gives the
 * whole bounding set back, so that one is cut as well. */
int identity_hold(const struct launch *launch, struct err *err);

#endif
