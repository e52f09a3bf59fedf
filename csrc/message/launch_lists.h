/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists in the launch message, which are read record by record:
 *
 *   mounts        kind, target, argument, flags: strings, each with its NUL (nsenter/mounts.py)
 *   rules         path, letters of "rwx": two such strings; or "bind" or "connect" and a port or
 *                 "none", "scope" and letters of "as", "paths" and "any" (landlock.py)
 *   limits        name:number:soft:hard, with commas between (limits.py)
 *   capabilities  number:name, with commas between (capabilities.py)
 *
 * launch_parse() checks each list once, as a whole. What takes it apart later stops at its end, and
 * need not look for errors. Names are sent for the texts of errors, so that no table of them is
 * needed here.
 */
#ifndef NSX_LAUNCH_LISTS_H
#define NSX_LAUNCH_LISTS_H

#include "base/text.h"

#define MOUNTS_MAX   256
#define CAPABILITIES 64 /* that a mask has room for */

enum mount_kind {
	MOUNT_BIND,
	MOUNT_TMPFS,
	MOUNT_PROC,
	MOUNT_DEV,
	MOUNT_FILE, /* not a mount, but a file that is made */
	MOUNT_SYSFS,
	MOUNT_TREE, /* a detached mount that the launcher has made */
};

/* Each string has a NUL behind it, which its span does not count. */
struct mount_record {
	enum mount_kind kind;
	struct span target;
	/* The source of a bind, the text of a file, the descriptor of a tree; else options,
	 * "name=value", separated by commas. */
	struct span argument;
	int tree; /* the descriptor; -1 for the other kinds */
	bool writable;
	bool devices;
	bool makes_target;
};

/* The kinds of Landlock's rules. */
enum rule_kind {
	RULE_PATH,     /* what is allowed below a path */
	RULE_NO_PATHS, /* paths are not restricted */
	RULE_BIND,     /* a TCP port that may be bound; -1: none, unless another rule allows it */
	RULE_CONNECT,  /* the same for a TCP port that may be connected to */
	RULE_SCOPE,    /* sockets and signals, which then reach only processes in the same domain */
};

struct rule {
	enum rule_kind kind;
	struct span path;
	bool read, write, execute;
	int port;
	bool abstract_sockets, signals;
};

struct limit {
	struct span name;
	unsigned resource;
	uint64_t soft, hard;
};

struct capability {
	struct span name;
	unsigned number;
};

/* Take a record off the front of a list. Returns false at its end, or if it is malformed. */
bool records_next_mount(struct span *rest, struct mount_record *record);
bool records_next_rule(struct span *rest, struct rule *rule);
bool records_next_limit(struct span *rest, struct limit *limit);
bool records_next_capability(struct span *rest, struct capability *capability);

/* Check a whole list. Returns NULL, or what is wrong; `*at` is then the offset of the wrong
 * record. */
const char *records_check_mounts(struct span list, size_t *at);
const char *records_check_rules(struct span list, size_t *at);
const char *records_check_limits(struct span list, size_t *at);
const char *records_check_capabilities(struct span list, size_t *at);

#endif
