/* SPDX-License-Identifier: Apache-2.0 */
/* What belongs to pyrunc: its Python, and the script that this is to run. */
#ifndef NSX_INSTALLATION_H
#define NSX_INSTALLATION_H

#include <limits.h>

/* The file beside pyrunc that says which Python and which package belong to it. */
#define START "pyrunc-start"

struct installation {
	char start[PATH_MAX]; /* the path of START */
	char interpreter[PATH_MAX];
};

/* Find them. If they are not there, say where they were looked for, and exit. */
void installation_find(struct installation *found);

#endif
