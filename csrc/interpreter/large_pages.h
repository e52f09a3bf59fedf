/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the interpreter has its objects that an image is made of: in ranges of whole large pages.
 *
 * Nearly every page of that memory is written to soon after an image is resumed, because a
 * reference count is in front of each object. If the kernel copied each small page when it is
 * written to, a start would take a thousand page faults, of 2 microseconds each or more in a
 * virtual machine. A large page takes one fault; copying its content from the image's file takes
 * a tenth of the time of those faults. If the kernel has no large page to give, it takes small
 * ones, which takes as long as before.
 */
#ifndef NSX_LARGE_PAGES_H
#define NSX_LARGE_PAGES_H

#include "interpreter/image.h"

#define LARGE_RANGES 2 /* malloc's heap, and the arenas of CPython */

/* Have malloc(3) and CPython take memory from such ranges. The interpreter must not have booted
 * yet: it must not have allocated anything by these functions. */
void large_pages_prepare(void);

/* Free what the ranges have that is not used, and return which ranges there are, sorted. Returns
 * how many. */
uint32_t large_pages_end(struct image_range ranges[LARGE_RANGES]);

#endif
