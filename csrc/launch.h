/* SPDX-License-Identifier: Apache-2.0 */
/* Our launcher's own message, the second on the init pipe: what runc's does not carry. */
#ifndef NSX_LAUNCH_H
#define NSX_LAUNCH_H

#include "wire.h"

/* The values of nsenter/settings.py's LaunchAttribute. */
enum {
	LAUNCH_HOSTNAME_ATTR = 62101,
	LAUNCH_MOUNT_PROC_ATTR,
	LAUNCH_CWD_ATTR,
	LAUNCH_KEEP_FDS_ATTR,
	LAUNCH_CGROUP_FD_ATTR,
	LAUNCH_TIMEOUT_ATTR,
	LAUNCH_TRACE_ATTR,
	LAUNCH_ATTRS_END,
};

#define LAUNCH_ATTR_COUNT (LAUNCH_ATTRS_END - LAUNCH_HOSTNAME_ATTR)

extern const struct wire_message launch_message;

struct launch {
	struct span hostname;
	struct span cwd;
	struct span keep_fds; /* "0,1,2,9": rising; all that the payload may inherit */
	bool mount_proc;
	bool trace;
	int cgroup_fd;	/* -1: none */
	int timeout_ms; /* for a mapping tool */
};

/* What holds where our launcher has not said otherwise. */
#define LAUNCH_DEFAULTS ((struct launch){ .cgroup_fd = -1, .timeout_ms = 10000 })

bool launch_parse(const uint8_t *data, size_t size, struct launch *out, struct wire_error *err);
/* Take the next number off a list of descriptors; false at its end or where it is malformed. */
bool launch_next_fd(struct span *list, unsigned *fd);

#endif
