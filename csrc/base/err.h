/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong: the operation (a system call, as its man page is called, or a step), its subject
 * (a path, a value, a pid) and errno. A function that takes a struct err returns 0, or -1 after it
 * has filled it in.
 */
#ifndef NSX_ERR_H
#define NSX_ERR_H

#include "base/text.h"

#define ERR_SUBJECT_MAX 512

struct err {
	const char *operation;
	int errnum; /* as errno: positive; 0 if no system call failed */
	char subject[ERR_SUBJECT_MAX];
};

/* Both return -1, so that a failing function can end with `return err_set(…)`. `ret` may be
 * -errno as the sys_ functions return it, or a plain errno. */
int err_set(struct err *err, const char *operation, const char *subject, long ret);
int err_set_span(struct err *err, const char *operation, struct span subject, long ret);

#endif
