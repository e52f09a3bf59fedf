/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From "stage 2 is in every namespace" to the payload. Every way to start takes these steps, in
 * this order; each step ends the process with a report if it fails.
 *
 *   1 arrive   Close what the payload must not have. Do what requires privileges: network, mounts,
 *              root, hostname, working directory. Leave a PID 1 behind, if one stays.
 *   2 confine  Give up rights for good: inside/confinement.h has the order.
 *   3 filter   Install the filter of system calls. Nothing but the payload makes any from then on.
 *
 * An interpreter runs between 1 and 2, and loads the payload's code before it has given up what
 * that takes. Where the ways differ:
 *
 *   nsinit     executes the payload, so that close-on-exec closes the descriptors, and 2 and 3 come
 *              right behind 1. It waits at the launcher's gate between 2 and 3.
 *   the shim   boots an interpreter in an empty place, which step 1 also prepares
 *              (products/shim.c).
 *   direct     has no stages: the spawned child takes the same steps (products/direct.c).
 */
#ifndef NSX_PAYLOAD_H
#define NSX_PAYLOAD_H

#include "stages/nsexec.h"

/* Step 1, for an interpreter that was there before the stages. */
void payload_arrive(struct nsexec *ns);
/* Step 2. */
void payload_confine(const struct nsexec *ns);
/* Step 3. */
void payload_filter(const struct nsexec *ns);

#endif
