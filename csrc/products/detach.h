/* SPDX-License-Identifier: Apache-2.0 */
/* Executing a program that nobody waits for. */
#ifndef NSX_DETACH_H
#define NSX_DETACH_H

/* Returns whether the launcher asks for it. */
int detach_is_asked(char *const *envp);

/* Execute argv[0] as a process that is nobody's child, in a session of its own, with /dev/null for
 * its streams and no other descriptor, and for two seconds at most; then exit. */
_Noreturn void detach(char **argv);

#endif
