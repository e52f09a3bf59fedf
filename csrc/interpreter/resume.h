/* SPDX-License-Identifier: Apache-2.0 */
/* The function in an image by which it is resumed. */
#ifndef NSX_RESUME_H
#define NSX_RESUME_H

#include "interpreter/image.h"

/* In the process that the image is made of: find what resume_image() needs of libc. */
void resume_prepare(void);

/* What interpreter/restore.c calls once the memory is back. It runs the interpreter to its end,
 * and does not return. */
void resume_image(const struct image_handover *handover);

#endif
