/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the interpreter and libc know of the size of stacks. Both ask once, when they start. Each
 * process that resumes an image has another stack, and perhaps another RLIMIT_STACK.
 */
#ifndef NSX_STACK_LIMITS_H
#define NSX_STACK_LIMITS_H

#include "interpreter/image.h"

/* ---- in the process that the image is made of */

/* Find the interpreter's functions for the bounds of the C stack, which CPython keeps since 3.14,
 * and note the limit that libc has seen. */
void stack_limits_find(void);
/* Make the interpreter forget this process's stack. No Python can run from then on. */
void stack_limits_forget(void);
/* Whether the word at this address is CPython's own record of where the stack was at first
 * (c_stack_init_top of _PyThreadStateImpl). If it is zero, stack_limits_learn() makes CPython look
 * again. */
bool stack_limits_keeps(uint64_t at);

/* ---- in a process that resumes the image */

/* Give threads the size of stack that libc would give them under this process's limit. */
void stack_limits_set_thread_size(void);
/* Tell the interpreter how far the stack of this process can grow. */
void stack_limits_learn(const struct image_process *resumed);

#endif
