/* SPDX-License-Identifier: Apache-2.0 */
/* The session of the payload, and its terminal. */
#ifndef NSX_SESSION_H
#define NSX_SESSION_H

#include "base/err.h"
#include "message/launch.h"

/* Enter the process group, and make stream 0 the controlling terminal, if that is asked for. */
int session_begin(const struct launch *launch, struct err *err);

#endif
