/* SPDX-License-Identifier: Apache-2.0 */
/* A new network namespace. */
#ifndef NSX_NETWORK_H
#define NSX_NETWORK_H

#include "base/err.h"

/* Take the loopback device up: a new one is down, and nothing answers on 127.0.0.1. */
int network_loopback_up(struct err *err);

#endif
