/* SPDX-License-Identifier: Apache-2.0 */
/* The interpreter of a container's init, which boots while the runtime finds out what it is to
 * do. */
#ifndef NSX_EARLY_INIT_H
#define NSX_EARLY_INIT_H

#include <stdbool.h>
#include <stddef.h>

#include "products/installation.h"

#define MAX_WORDS 4096 /* that a command may have */

/* The variable that tells the runtime of the init: libcontainer/pyrunc/start.py reads it. */
#define INIT_VARIABLE "_PYRUNC_INIT"

/* Returns the arguments of an interpreter: those that the runtime and the init both have, and
 * behind them `words`. They stay until the next call. */
char **interpreter_argv(const struct installation *found, char *const *words);

/* Start it; `place` becomes the variable that tells the runtime of it. Returns false if that fails,
 * and the runtime then starts the init itself. */
bool early_init_start(const struct installation *found, int executable, char *const *envp,
		      char *place, size_t size);

#endif
