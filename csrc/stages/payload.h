/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps from "stage 2 is in every namespace" to the payload. Every way to start a payload takes
 * them, in this order. A step that fails reports why, and ends the process.
 *
 *   1 arrive   Close what the payload must not have. Take the steps that require privileges:
 *              network, mounts, root, hostname, working directory. Leave a PID 1, if one stays.
 *   2 confine  Give up rights for good: inside/confinement.h has the order.
 *   3 filter   Install the filter of system calls. Only the payload makes any from then on.
 *
 * An interpreter runs between 1 and 2: it loads the payload's code before it gives up the rights
 * that this requires. The ways differ as follows:
 *
 *   nsinit     executes the payload, so that close-on-exec closes the descriptors, and steps 2 and
 *              3 follow step 1 at once. It waits at the launcher's gate between 2 and 3.
 *   the shim   boots an interpreter in an empty directory, which step 1 also prepares
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
