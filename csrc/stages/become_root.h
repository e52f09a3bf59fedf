/* SPDX-License-Identifier: Apache-2.0 */
/* What a process does first in its new namespaces: it leads a session, and becomes root. */
#ifndef NSX_BECOME_ROOT_H
#define NSX_BECOME_ROOT_H

#include "message/bootstrap.h"

/* For `launched`: our own launcher started the process, and not another parent. */
#define BY_OUR_LAUNCHER true

/* Returns whether the process can become root, by its map of uids or of gids. It cannot in a new
 * user namespace that maps no id 0, and an ordinary user's process cannot if it stays in the
 * caller's user namespace. Parents other than our launcher expect it to try. */
bool has_root_id(const struct bootstrap *boot, struct span map, bool launched);

/* Lead a new session, unless the caller's is kept. */
int lead_session(bool keep_session, struct err *err);
/* Become root, and make the cgroup namespace. */
int gain_root(const struct bootstrap *boot, bool launched, struct err *err);

#endif
