/* SPDX-License-Identifier: Apache-2.0 */
/* Landlock: which files, ports and processes the payload may use, whatever its ids allow. */
#ifndef NSX_LANDLOCK_H
#define NSX_LANDLOCK_H

#include "base/err.h"
#include "message/launch.h"

/* Make the ruleset while its paths can be opened; *prepared is -1 if there are no rules. */
int landlock_prepare(struct span rules, int *prepared, struct err *err);
/* Restrict this process by the ruleset, and close it. */
int landlock_restrict(int prepared, struct err *err);

#endif
