/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of namespaces, and how to read a list of them, join them and unshare them. */
#ifndef NSX_NAMESPACES_H
#define NSX_NAMESPACES_H

#include "base/err.h"
#include "base/sys.h"

#define NAMESPACE_KINDS 8

/* Every CLONE_NEW* flag of namespaces(7). */
#define NAMESPACE_FLAGS                                                                            \
	(CLONE_NEWCGROUP | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID |              \
	 CLONE_NEWTIME | CLONE_NEWUSER | CLONE_NEWUTS)

/* A namespace to join. The descriptor, once it is open, is one of the namespace or of a process
 * that is in it: setns(2) takes both. */
struct namespace_join {
	uint32_t flag;
	struct span path;
	int fd;
	bool borrowed; /* the path is /proc/self/fd/N: the descriptor is the caller's */
};

struct namespace_list {
	size_t count;
	struct namespace_join items[NAMESPACE_KINDS];
};

/* Returns the name of a kind, as in /proc/PID/ns: "net", "mnt" …; "?" for any other number. */
const char *namespace_name(uint32_t flag);
/* Read "kind:path,kind:path". Returns NULL, or what is wrong; `*at` is then its offset. */
const char *namespaces_parse(struct span text, struct namespace_list *list, size_t *at);
uint32_t namespaces_flags(const struct namespace_list *list);

int namespaces_open(struct namespace_list *list, struct err *err);
/* Join all of them, and close their descriptors. If a user namespace is joined, the process becomes
 * root in it. */
int namespaces_join(struct namespace_list *list, struct err *err);
int namespaces_unshare(uint32_t flags, struct err *err);
/* Set the error of an operation that has not made these namespaces, "user,net". Returns -1. */
int namespaces_refused(uint32_t flags, const char *operation, long ret, struct err *err);

#endif
