/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in an interpreter that runs already. */
#ifndef NSX_PREBOOTED_H
#define NSX_PREBOOTED_H

/*
 * Replace shared memory by a private copy, so that no other process and no file gets what this
 * process writes there. mem_fd is a descriptor of /proc/self/mem. Returns 0, or -errno if nothing
 * was changed.
 */
int prebooted_own_memory(int mem_fd, unsigned long start, unsigned long size, int protection);

/* Prepare the process before its message comes: reset its signals, and have libc load what it would
 * otherwise look for later. */
void prebooted_reset(void);

/*
 * Be stage 0 in a process that was started for it and has one thread, go through the stages, and
 * return as stage 2, in every namespace, with the descriptors of the launch message and no
 * others. A stage that fails reports why and exits.
 */
void prebooted_stages(int init_fd, int status_fd);

/* After that, give up what the launch message says: first all but the filter of system calls, and
 * the filter after the last report. If that fails, it is reported, and the process exits. */
void prebooted_confine(void);
void prebooted_filter(void);

/*
 * Fork a process that has one thread. The new process is a child of this process's parent, and is
 * in the PID namespace that this process has joined with setns(2). Returns its pid, 0 in the new
 * process, or -errno. *pidfd becomes its pidfd.
 */
long prebooted_sibling(int *pidfd);

#endif
