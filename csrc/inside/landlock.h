/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: what of the file system may be used, whatever the ids allow. */
#ifndef NSX_LANDLOCK_H
#define NSX_LANDLOCK_H

#include "base/err.h"
#include "message/launch.h"

/* Make the ruleset while its paths can be opened; *fd is -1 where there are no rules. */
int landlock_prepare(struct span rules, int *fd, struct err *err);
/* Put it on this process, and close it. */
int landlock_restrict(int fd, struct err *err);

#endif
