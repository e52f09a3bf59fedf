/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be done about libc in a process that changes its root, or is cloned without it. */
#ifndef NSX_LIBC_H
#define NSX_LIBC_H

#include <stdbool.h>
#include <stdint.h>

/* Have libc load the libraries now, from the host, that it would otherwise look for by name in the
 * new root, and execute. */
void libc_settle(void);

/* Returns where libc keeps the thread's id, which the kernel clears when the thread ends; NULL if
 * that is not known. After a clone that libc knows nothing of, the parent's id is still there, and
 * CPython 3.14 on an old glibc crashes. */
int *libc_thread_id(void);

/* The area that glibc has registered for restartable sequences since 2.35 (rseq(2)), and its size;
 * NULL and 0 if there is none. */
uint8_t *libc_rseq_area(unsigned *size);

/* How many threads this process has: the links of a directory in /proc. 0 if that is not known. */
unsigned libc_count_threads(void);

/*
 * Call this before a clone after which the child continues with the memory of this process
 * (base/clone.h). It unregisters everything that the kernel writes to that memory when the thread
 * of this process is scheduled or ends. Returns false if that fails; then nothing was changed.
 */
bool libc_leave_thread(void);

/* Register it again: in the child, or in this process if the clone failed. */
void libc_join_thread(void);

#endif
