/* SPDX-License-Identifier: Apache-2.0 */
/* A PID 1 that stays. */
#ifndef NSX_PID1_H
#define NSX_PID1_H

#include "stages/nsexec.h"

/*
 * Where the launch message has it: split in two. The child returns, and goes on to be the payload.
 * The parent, PID 1 of a new pid namespace, does not, unless it fails:
 *
 * - it waits for all that ends, also for what is nobody else's child any more;
 * - a signal that it gets it sends on to the child;
 * - it ends when the child has, and the kernel then ends all that is left in the namespace;
 * - its exit status is the child's, or 128 and the number of the signal that has killed it, which
 *   it tells on the message's `init_fd` in a byte besides: a PID 1 cannot end by a signal of its
 *   own;
 * - it ends with status 255 if it can no longer wait for the child.
 */
int pid1_split(const struct nsexec *ns, struct err *err);

/*
 * Continue as PID 1 after an execve of nsinit; returns if the environment does not ask for that.
 *
 * If PID 1 is an interpreter, its child takes over its memory (base/clone.h), so that nothing is
 * copied. PID 1 must not share memory with a payload: so it executes nsinit, which calls this.
 */
void pid1_resume(char *const *envp);

#endif
