/* SPDX-License-Identifier: Apache-2.0 */
/* Executing a program by its name. */
#ifndef NSX_EXEC_H
#define NSX_EXEC_H

/* The value of NAME in `NAME=value` strings, or NULL. */
const char *environment_get(char *const *envp, const char *name);

/* Execute the program of this name, which need not be argv[0]; without a slash it is looked for in
 * the PATH of `envp`. A script without #! is no program, as for execve(2). Returns only on failure,
 * with -errno. */
long exec_program(const char *name, char *const *argv, char *const *envp);

#endif
