/* SPDX-License-Identifier: Apache-2.0 */
/* The session of the payload, and its terminal. */
#ifndef NSX_SESSION_H
#define NSX_SESSION_H

#include "err.h"
#include "launch.h"

/* Lead a session, where this process does not yet, and have stream 0 as controlling terminal. */
int session_begin(const struct launch *launch, struct err *err);

#endif
