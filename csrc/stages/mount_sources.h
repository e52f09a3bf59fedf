/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount sources, which nsexec opens for runc up to 1.1, as that version's own does. Stage 0 opens
 * them, in the mount namespace of stage 1: its privileges may allow it to search directories that
 * root of a new user namespace may not.
 */
#ifndef NSX_MOUNT_SOURCES_H
#define NSX_MOUNT_SOURCES_H

#include "stages/nsexec.h"

/* In stage 1: ask for them, and give each the number that the environment says. */
int mount_sources_receive(const struct nsexec *ns, int sync_fd, const char *peer, struct err *err);
/* In stage 0: open and send them. */
int mount_sources_send(const struct nsexec *ns, int pid1, int sync_fd, const char *peer,
		       struct err *err);
/* Let the program that is executed have them. */
void mount_sources_pass_on(const struct nsexec *ns);

#endif
