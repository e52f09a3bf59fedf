/* SPDX-License-Identifier: Apache-2.0 */
/* Who the payload is: groups, ids, capabilities. */
#ifndef NSX_CREDENTIALS_H
#define NSX_CREDENTIALS_H

#include "base/err.h"
#include "message/launch.h"

/* Take on the payload's. */
int credentials_take_on(const struct launch *launch, struct err *err);

/* Keep no capability but those of this mask, and none of them inheritable. */
int credentials_keep_only(uint64_t mask, struct err *err);

/* Keep the capabilities that stage 2 still needs, as the launch message lists them. The bounding
 * set is cut too, because an execve(2) as root gives a process all that is in it. */
int credentials_hold(const struct launch *launch, struct err *err);

#endif
