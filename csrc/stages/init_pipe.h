/* SPDX-License-Identifier: Apache-2.0 */
/* The init pipe, which ties stage 0 to its parent: a message down, two words up. */
#ifndef NSX_INIT_PIPE_H
#define NSX_INIT_PIPE_H

#include "stages/nsexec.h"

/* The zero byte that runc's parent waits for: its init is past what it does before the message. */
int init_pipe_hello(struct nsexec *ns, struct err *err);

/* Read and check the bootstrap message and, from our own launcher, the second one. Their memory
 * stays: what is parsed points into it. */
int init_pipe_receive(struct nsexec *ns, struct err *err);

/* Tell the parent the pids, in runc's words; and to our own launcher give a pidfd, which no reuse
 * of the pid can turn into another process. -1: none. */
int init_pipe_reply(const struct nsexec *ns, int pid1, int pid2, int pidfd, struct err *err);

#endif
