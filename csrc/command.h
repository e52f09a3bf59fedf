/* SPDX-License-Identifier: Apache-2.0 */
/* The memory image of pyrunc's own interpreter. */
#ifndef NSX_COMMAND_H
#define NSX_COMMAND_H

#include "image.h"

/*
 * Become the interpreter of the image, which runs the command; returns where there is none that can
 * be used, and the interpreter has to boot. Some of an image may be mapped then, which is of no
 * consequence to a process that executes another program.
 *
 * Args: `start` is the path of pyrunc-start, after which the image is named; `why` gets a
 * reason, and before it "1 " if another image should be made, or else "0 ".
 */
void command_resume(const char *start, const struct image_process *process, struct text *why);

#endif
