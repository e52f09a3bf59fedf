/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits, the mask of file modes, processors. */
#ifndef NSX_LIMITS_H
#define NSX_LIMITS_H

#include "base/err.h"
#include "message/launch.h"

/* Set the limits of a list, for records_next_limit(). */
int resources_set_limits(struct span list, struct err *err);
int resources_limit(const struct launch *launch, struct err *err);

#endif
