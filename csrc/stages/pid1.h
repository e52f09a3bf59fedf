/* SPDX-License-Identifier: Apache-2.0 */
/* A PID 1 that stays, while its child is the payload. */
#ifndef NSX_PID1_H
#define NSX_PID1_H

#include "stages/nsexec.h"

/*
 * If the launch message asks for it, split the process in two. The child returns, and goes on to be
 * the payload. The parent, PID 1 of a new PID namespace, does not return, unless it fails:
 *
 * - It collects all processes that end, also those whose own parents have ended.
 * - It passes on each signal that it gets to the child.
 * - It ends when the child has ended, and the kernel then ends all that is left in the namespace.
 * - Its exit status is the child's, or 128 and the number of the signal that has killed the child.
 * It also writes that number to the message's `init_fd`, as a byte, because PID 1 cannot end by a
 *   signal of its own.
 * - It ends with status 255 if it can no longer wait for the child.
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
