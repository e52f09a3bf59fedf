/* SPDX-License-Identifier: Apache-2.0 */
/* What a process that goes on to use libc, in whatever root it lands, needs of it beforehand. */
#ifndef NSX_LIBC_H
#define NSX_LIBC_H

#include <stdbool.h>

/* Have libc load now, from the host, what it would look for by name later and run. */
void libc_settle(void);

/* libc gives each thread's id a place and has the kernel clear it when the thread ends. A raw
 * clone leaves the parent's number there, which CPython 3.14 on an old glibc dies of. */
int *libc_thread_id(void);

/*
 * Around a clone after which another process goes on with this one's memory (clone.h): have the
 * kernel forget what it would write there, or do with it, when the thread of this process is
 * scheduled or ends. False if it does not; then nothing has changed.
 */
bool libc_leave_thread(void);

/* In that process, or in this one if there is none: have the kernel know of all that again. */
void libc_join_thread(void);

#endif
