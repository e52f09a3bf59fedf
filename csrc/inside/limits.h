/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits, the mask of file modes, processors. */
#ifndef NSX_LIMITS_H
#define NSX_LIMITS_H

#include "base/err.h"
#include "message/launch.h"

/* Set the limits of a list, for records_next_limit(). */
int limits_set(struct span list, struct err *err);
/* Set all that the launch message says of them. */
int limits_apply(const struct launch *launch, struct err *err);

#endif
