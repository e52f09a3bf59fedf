/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does first in its new namespaces: session, ids, cgroup namespace. */
#ifndef NSX_BECOME_ROOT_H
#define NSX_BECOME_ROOT_H

#include "message/bootstrap.h"

/* Whether there is a root to become, by the map of uids or gids: not where a new user namespace
 * maps no id 0, nor for a user of our own launcher who stays in the caller's. */
bool has_root_id(const struct bootstrap *boot, struct span map, bool launched);

/* Lead a new session unless the caller's is kept. */
int lead_session(bool keep_session, struct err *err);
/* Become root, and make the cgroup namespace. */
int gain_root(const struct bootstrap *boot, bool launched, struct err *err);
/* Both: lead a new session unless the caller's is kept, become root, and make the cgroup namespace.
 */
int lead_session_as_root(const struct bootstrap *boot, bool launched, bool keep_session,
			 struct err *err);

#endif
