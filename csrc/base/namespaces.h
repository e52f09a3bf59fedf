/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of namespaces: one table, and what walks it: reading a list, joining, unsharing. */
#ifndef NSX_NAMESPACES_H
#define NSX_NAMESPACES_H

#include "base/err.h"
#include "base/sys.h"

#define NAMESPACE_KINDS 8

/* Every CLONE_NEW* flag of namespaces(7). */
#define NAMESPACE_FLAGS                                                                            \
	(CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID |              \
	 CLONE_NEWTIME | CLONE_NEWUSER | CLONE_NEWUTS)

/* One namespace to join: its kind, its path, and once opened a descriptor (of the namespace
 * or, as setns(2) takes both, of a process in it). */
struct namespace_join {
	uint32_t flag;
	struct span path;
	int fd;
	bool borrowed; /* the path is /proc/self/fd/N: the caller's own descriptor */
};

struct namespace_list {
	size_t count;
	struct namespace_join items[NAMESPACE_KINDS];
};

/* "net", "mnt" … as in /proc/PID/ns; "?" for what is not one flag of a namespace. */
const char *namespace_name(uint32_t flag);
/* Read `kind:path,kind:path`. NULL, or what is wrong; `*at` is then the offset of it. */
const char *namespaces_parse(struct span text, struct namespace_list *list, size_t *at);
uint32_t namespaces_flags(const struct namespace_list *list);

int namespaces_open(struct namespace_list *list, struct err *err);
/* Join all that is open and close it. Becomes root in a user namespace that is joined. */
int namespaces_join(struct namespace_list *list, struct err *err);
int namespaces_unshare(uint32_t flags, struct err *err);
/* The error of an operation that did not create them: "user,net". Returns -1. */
int namespaces_refused(uint32_t flags, const char *operation, long ret, struct err *err);

#endif
