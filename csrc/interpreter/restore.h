/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring a memory image in a process that is as empty as nsinit: without libc. */
#ifndef NSX_RESTORE_H
#define NSX_RESTORE_H

#include "interpreter/image.h"

/*
 * Check an image, and map it: nothing of it is written to yet, so that a process that is made
 * afterwards shares all of it. Where this fails, the process must end: some of it may be mapped.
 *
 * Args: `path` is that of the image. Its directory and the image must be the caller's or root's
 * and open to nobody else.
 */
int restore_map(const char *path, const struct image_process *process, struct image *image,
		struct err *err);

/* Become the process of the image. What fails from here on ends the process. */
_Noreturn void restore_enter(const struct image *image, const struct image_handover *handover);

#endif
