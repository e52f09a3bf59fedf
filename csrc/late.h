/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in an interpreter that runs, instead of before one that boots. */
#ifndef NSX_LATE_H
#define NSX_LATE_H

/*
 * Have a copy of memory that is mapped as shared: what this process writes there, no other process
 * sees, nor is it written to a file. 0 or -errno; if it fails, nothing has changed.
 * mem_fd is of this process's /proc/self/mem.
 */
int late_own_memory(int mem_fd, unsigned long start, unsigned long size, int protection);

/* What takes its time and needs no orders: signals and what libc would look for later. */
void late_settle(void);

/*
 * Be stage 0 in a process that was started for it and has one thread, go through the stages, and
 * return as stage 2, in every namespace, with the descriptors of the launch message and no
 * others. A stage that fails reports why and exits.
 */
void late_stages(int init_fd, int status_fd);

/* Behind it, what the launch message has it give up: all but the filter, which comes when the last
 * is reported. What fails is reported, and the process exits. */
void late_confine(void);
void late_filter(void);

/*
 * Split as fork(2) does, in a process that has one thread; the child is one of this process's
 * parent, and in the PID namespace that this process has joined by setns(2). Returns its pid, and
 * 0 in it, or -errno. *pidfd is the child's.
 */
long late_sibling(int *pidfd);

#endif
