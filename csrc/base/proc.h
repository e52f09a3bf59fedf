/* SPDX-License-Identifier: Apache-2.0 */
/* Files of proc(5). */
#ifndef NSX_PROC_H
#define NSX_PROC_H

#include "base/err.h"

/* Returns the path of a file of a process, /proc/PID/FILE, which `t` has room for. */
const char *proc_path(struct text *t, int pid, const char *file);

/* Write a file by one write(2): the kernel takes what such a file is told as a whole, or not at
 * all. */
int proc_write(const char *path, struct span content, struct err *err);

#endif
