/* SPDX-License-Identifier: Apache-2.0 */
/* How pyrunc says why it cannot start its interpreter. */
#ifndef NSX_PYRUNC_ERRORS_H
#define NSX_PYRUNC_ERRORS_H

#include "base/text.h"

/* Write the text to standard error, and exit. */
_Noreturn void pyrunc_fail_with(struct text *t);
/* The same for "pyrunc: WHAT NAME". */
_Noreturn void pyrunc_fail(const char *what, const char *name);

/* Add a path that was tried, and why that failed: " PATH (No such file or directory)". */
void pyrunc_add_tried(struct text *t, const char *path, long result);

#endif
