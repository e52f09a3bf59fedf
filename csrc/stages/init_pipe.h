/* SPDX-License-Identifier: Apache-2.0 */
/* The init pipe, by which the parent sends stage 0 its messages, and gets the pids back. */
#ifndef NSX_INIT_PIPE_H
#define NSX_INIT_PIPE_H

#include "stages/nsexec.h"

/* Send the zero byte that a parent of runc up to 1.1 waits for before it sends its message. */
int init_pipe_hello(struct nsexec *ns, struct err *err);

/* Read and check the bootstrap message and, from our own launcher, the second one. Their memory
 * stays: what is parsed points into it. */
int init_pipe_receive(struct nsexec *ns, struct err *err);

/* Tell the parent the pids, in runc's words, and send our own launcher a pidfd with them: if the
 * pid is used again, a pidfd still means the same process. `pidfd` is -1 if there is none. */
int init_pipe_reply(const struct nsexec *ns, int pid1, int pid2, int pidfd, struct err *err);

#endif
