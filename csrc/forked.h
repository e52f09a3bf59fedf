/* SPDX-License-Identifier: Apache-2.0 */
/* The stages in a fork of an interpreter that runs, instead of before one that boots. */
#ifndef NSX_FORKED_H
#define NSX_FORKED_H

/*
 * Be stage 0 in a process that was forked for it and has one thread, go through the stages, and
 * return as stage 2, in every namespace, with the descriptors of the launch message and no
 * others. A stage that fails reports why and exits.
 */
void forked_stages(int init_fd, int status_fd);

/* What is given up for good, when nothing of it is needed any more: all but the filter of system
 * calls; and that. What fails is reported, and the process exits. */
void forked_confine(void);
void forked_filter(void);

#endif
