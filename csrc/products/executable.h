/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interpreter as a file that no container can write to (CVE-2019-5736). A container can open
 * the program of its init by /proc/self/exe. If that were the host's file, and the container's user
 * could write to it, the container would choose what the host executes next.
 */
#ifndef NSX_EXECUTABLE_H
#define NSX_EXECUTABLE_H

/* What executable_open() returns if there is no descriptor of the interpreter. */
#define BY_PATH	    (-1) /* nobody whom a container can be can write to the file */
#define UNPROTECTED (-2) /* a container could write to the file */

/* Returns a descriptor of the file: that of a read-only mount, or else of a sealed copy if this
 * process could write to the file. */
int executable_open(const char *path);

/* Execute the file by its descriptor or, if that is negative, by its path. Returns only on failure,
 * with -errno. */
long executable_run(const char *path, int fd, char *const *argv, char *const *envp);

#endif
