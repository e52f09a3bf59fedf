/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between the stages. If a stage dies, the others see the end of its socket. */
#ifndef NSX_SYNC_H
#define NSX_SYNC_H

#include "base/err.h"
#include "base/sys.h"

enum sync_kind {
	SYNC_USERMAP = 1, /* CHILD → PARENT: write my id maps */
	SYNC_USERMAP_ACK, /* PARENT → CHILD: they are written */
	SYNC_SOURCES,	  /* CHILD → PARENT: open the mount sources in my mount namespace */
	SYNC_SOURCE,	  /* PARENT → CHILD: one of them, with its descriptor */
	SYNC_PID,	  /* CHILD → PARENT: stage 2 is the pid `value` */
	SYNC_PID_ACK,	  /* PARENT → CHILD: the caller knows it */
	SYNC_GO,	  /* PARENT → INIT: go on */
	SYNC_DONE,	  /* CHILD, INIT → PARENT: my part is done */
};

#define NO_VALUE 0 /* of the kinds that have none */

/* Make a pair of sockets, which are close-on-exec; fds[0] is the parent's. */
int sync_pair(int fds[2], struct err *err);
/* Send bytes, and a descriptor with them unless that is -1. Returns what sendmsg(2) does. */
long sync_send_bytes(int fd, struct span bytes, int descriptor);
/* Send a SYNC_SOURCE, and wait for one. */
int sync_send_source(int fd, int source, const char *peer, struct err *err);
int sync_wait_source(int fd, int *source, const char *peer, struct err *err);
int sync_send(int fd, enum sync_kind kind, int value, const char *peer, struct err *err);
/* Wait for a message, which must be of this kind; *value gets its value. */
int sync_wait(int fd, enum sync_kind kind, int *value, const char *peer, struct err *err);
/* Wait for a message of any kind. */
int sync_read(int fd, enum sync_kind *kind, int *value, const char *peer, struct err *err);

#endif
