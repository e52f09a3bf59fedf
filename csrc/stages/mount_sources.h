/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mount sources, as runc up to 1.1 has them opened by its stub: in the mount namespace of stage 1,
 * by the privileges of stage 0, which may be able to search directories that root of a new user
 * namespace may not.
 */
#ifndef NSX_MOUNT_SOURCES_H
#define NSX_MOUNT_SOURCES_H

#include "stages/nsexec.h"

/* In stage 1: ask for them and put each where the environment says. */
int mount_sources_receive(const struct nsexec *ns, int sync_fd, const char *peer, struct err *err);
/* In stage 0: open and send them. */
int mount_sources_send(const struct nsexec *ns, int pid1, int sync_fd, const char *peer,
		       struct err *err);
/* Before an execve(2): it keeps them. */
void mount_sources_pass_on(const struct nsexec *ns);

#endif
