/* SPDX-License-Identifier: Apache-2.0 */
/* Our launcher's own message, the second on the init pipe: what runc's does not carry. */
#ifndef NSX_LAUNCH_H
#define NSX_LAUNCH_H

#include "message/wire.h"

/* The values of nsenter/settings.py's LaunchAttribute. */
enum {
	LAUNCH_HOSTNAME_ATTR = 62101,
	LAUNCH_MOUNT_PROC_ATTR,
	LAUNCH_CWD_ATTR,
	LAUNCH_KEEP_FDS_ATTR,
	LAUNCH_CGROUP_FD_ATTR,
	LAUNCH_TIMEOUT_ATTR,
	LAUNCH_TRACE_ATTR,
	LAUNCH_LOOPBACK_ATTR,
	LAUNCH_ROOT_ATTR,
	LAUNCH_READ_ONLY_ATTR,
	LAUNCH_MOUNTS_ATTR,
	LAUNCH_KEEP_SESSION_ATTR,
	LAUNCH_TERMINAL_ATTR,
	LAUNCH_INIT_FD_ATTR,
	LAUNCH_RLIMITS_ATTR,
	LAUNCH_UMASK_ATTR,
	LAUNCH_CPUS_ATTR,
	LAUNCH_UID_ATTR,
	LAUNCH_GID_ATTR,
	LAUNCH_GROUPS_ATTR,
	LAUNCH_CAPABILITIES_ATTR,
	LAUNCH_NO_NEW_PRIVS_ATTR,
	LAUNCH_LANDLOCK_ATTR,
	LAUNCH_SECCOMP_ATTR,
	LAUNCH_SECCOMP_FLAGS_ATTR,
	LAUNCH_DIE_WITH_PARENT_ATTR,
	LAUNCH_PROCESS_GROUP_ATTR,
	LAUNCH_HELD_ATTR,
	LAUNCH_BOUNDING_ATTR,
	LAUNCH_DOORS_ATTR,
	LAUNCH_GATE_FD_ATTR,
	LAUNCH_REAPER_FD_ATTR,
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

	/* The tail (inside/confinement.h). Of a span that was not sent, `data` is NULL. */
	bool loopback;
	struct span root;   /* an absolute path; "tmpfs", or "tmpfs,OPTIONS" */
	struct span mounts; /* for records_next_mount() */
	bool read_only;
	bool keep_session;
	bool terminal;
	int init_fd;	     /* where a PID 1 that stays tells what killed its child; -1: none */
	struct span rlimits; /* for records_next_limit() */
	int umask;	     /* -1: as it comes */
	struct span cpus;    /* sched_setaffinity(2)'s mask */
	int64_t uid, gid;    /* -1: as they come */
	struct span groups;  /* gid_t, one behind another */
	struct span capabilities; /* for records_next_capability() */
	bool no_new_privs;
	struct span landlock; /* for records_next_rule() */
	struct span seccomp;  /* struct sock_filter, one behind another */
	uint32_t seccomp_flags;
	bool die_with_parent;
	int process_group; /* setpgid(2)'s; -1: as it comes */

	/* The capabilities that stage 2 has at most, and those that an execve(2) could give it,
	 * from its first moment on if a joined PID namespace can see it; for
	 * records_next_capability(). Without `held`, it has what the caller has. */
	struct span held, bounding;
	/* "5,6": files of cgroups of v1, by which stage 1 enters them. */
	struct span doors;
	/* Of a new /proc, with a NUL behind them. stages/nsexec.c sets them; they are not sent. */
	struct span proc_options;
	int gate_fd; /* a byte from here lets the program be executed; -1: nothing to wait for */
	/* nsinit, which PID 1 executes after its child has taken over its memory; -1: none */
	int reaper_fd;
};

/* What holds where our launcher has not said otherwise. */
#define LAUNCH_DEFAULTS                                                                            \
	((struct launch){ .cgroup_fd = -1,                                                         \
			  .timeout_ms = 10000,                                                     \
			  .init_fd = -1,                                                           \
			  .umask = -1,                                                             \
			  .process_group = -1,                                                     \
			  .gate_fd = -1,                                                           \
			  .reaper_fd = -1,                                                         \
			  .uid = -1,                                                               \
			  .gid = -1 })

bool launch_parse(const uint8_t *data, size_t size, struct launch *out, struct wire_error *err);
/* Take the next number off a list of descriptors; false at its end or where it is malformed. */
bool launch_next_fd(struct span *list, unsigned *fd);

#endif
