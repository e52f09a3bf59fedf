/* SPDX-License-Identifier: Apache-2.0 */
/* Executing a program by its name. */
#ifndef NSX_EXEC_H
#define NSX_EXEC_H

/* Returns the value of a variable in strings such as "NAME=value", or NULL. */
const char *environment_get(char *const *envp, const char *name);

/* Execute the program of this name, which need not be argv[0]. A name without a slash is looked for
 * in the PATH of `envp`. Other than execvp(3), this does not execute a script without "#!". Returns
 * only on failure, with -errno. */
long exec_program(const char *name, char *const *argv, char *const *envp);

#endif
