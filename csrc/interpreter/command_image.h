/* SPDX-License-Identifier: Apache-2.0 */
/* The memory image of pyrunc's own interpreter. */
#ifndef NSX_COMMAND_IMAGE_H
#define NSX_COMMAND_IMAGE_H

#include "interpreter/image.h"

/*
 * Become the interpreter of the image, which runs the command. Returns if no image can be used; the
 * caller must then execute an interpreter, which also removes what was mapped of an image.
 *
 * `start` is the path of pyrunc-start, which is part of the name of the image. `why` gets the
 * reason, with "1 " in front if another image should be made, and "0 " if not.
 */
void command_image_resume(const char *start, const struct image_process *process, struct text *why);

#endif
