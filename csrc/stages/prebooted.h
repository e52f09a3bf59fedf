/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in an interpreter that runs, instead of before one that boots. */
#ifndef NSX_PREBOOTED_H
#define NSX_PREBOOTED_H

/*
 * Replace shared memory by a private copy, so that no other process and no file gets what this
 * process writes there. mem_fd is a descriptor of /proc/self/mem. Returns 0, or -errno if nothing
 * was changed.
 */
int prebooted_own_memory(int mem_fd, unsigned long start, unsigned long size, int protection);

/* What takes its time and needs no orders: signals and what libc would look for later. */
void prebooted_reset(void);

/*
 * Be stage 0 in a process that was started for it and has one thread, go through the stages, and
 * return as stage 2, in every namespace, with the descriptors of the launch message and no
 * others. A stage that fails reports why and exits.
 */
void prebooted_stages(int init_fd, int status_fd);

/* Behind it, what the launch message has it give up: all but the filter, which comes when the last
 * is reported. What fails is reported, and the process exits. */
void prebooted_confine(void);
void prebooted_filter(void);

/*
 * Fork a process that has one thread. The new process is a child of this process's parent, and is
 * in the PID namespace that this process has joined with setns(2). Returns its pid, 0 in the new
 * process, or -errno. *pidfd becomes its pidfd.
 */
long prebooted_sibling(int *pidfd);

#endif
