/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lists inside the launch message, read record by record. Pure functions.
 *
 *   mounts        kind, target, argument, flags: strings, each with its NUL (nsenter/mounts.py)
 *   rules         path, letters of "rwx": two such strings; or "bind" or "connect" and a port or
 *                 "none", "scope" and letters of "as", "paths" and "any" (landlock.py)
 *   limits        name:number:soft:hard, with commas between (limits.py)
 *   capabilities  number:name, with commas between (capabilities.py)
 *
 * A list is checked once, as a whole; then it is taken apart without a look at what is wrong. Names
 * are for errors, so that no table of them is needed here.
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
	MOUNT_FILE, /* no mount: a file that is made */
	MOUNT_SYSFS,
	MOUNT_TREE, /* a detached mount that the launcher has made */
};

/* The strings end in a NUL that the spans do not count. */
struct mount_record {
	enum mount_kind kind;
	struct span target;
	struct span argument; /* a bind's source; a file's text; a tree's descriptor; else options,
				 `name=value` with commas between */
	int tree;	      /* the descriptor; -1 for the other kinds */
	bool writable;
	bool devices;
	bool makes_target;
};

/* Of Landlock: what is allowed below a path; or a word of another kind and its value. */
enum rule_kind {
	RULE_PATH,
	RULE_NO_PATHS, /* paths are not restricted */
	RULE_BIND,     /* TCP ports that may be bound: `port`, or -1: none so far */
	RULE_CONNECT,  /* TCP ports that may be connected to */
	RULE_SCOPE,    /* what stays among those that are restricted in the same way */
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

/* Take a record off the front of a list. False at its end and where it is malformed. */
bool records_next_mount(struct span *rest, struct mount_record *record);
bool records_next_rule(struct span *rest, struct rule *rule);
bool records_next_limit(struct span *rest, struct limit *limit);
bool records_next_capability(struct span *rest, struct capability *capability);

/* A whole list. NULL, or what is wrong; `*at` is then the offset of the record that is. */
const char *records_check_mounts(struct span list, size_t *at);
const char *records_check_rules(struct span list, size_t *at);
const char *records_check_limits(struct span list, size_t *at);
const char *records_check_capabilities(struct span list, size_t *at);

#endif
