/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what the launch message carries. All of these are made from it, so that a field
 * cannot be sent and then silently not be applied: the attribute types, their kinds, the members of
 * struct launch, the parser, LaunchAttribute of nsenter/_message/launch.py, and the answers to "is
 * there anything to confine?" and "does this require the stages?".
 *
 * Each row is X(NAME, member, KIND, default, STEP, WAY).
 *
 *   KIND  how it is sent, and the type of its member:
 *           TEXT    a struct span, of text without NULs; `data` is NULL if it was not sent
 *           BYTES   a struct span
 *           FLAG    a bool
 *           NUMBER  an int; numbers that are too large for one become INT_MAX
 *           ID      an int64_t, so that -1 can be told from every id
 *           BITS    a uint32_t
 *   STEP  which step of inside/confinement.h carries it out:
 *           STAGES   none of them: it is for the stages, or about the message itself
 *           PREPARE  confinement_prepare()
 *           CONFINE  confinement_begin()
 *           FILTER   seccomp_install()
 *   WAY   DIRECT if products/direct.c may start a process with it; STAGED if not. Such a process
 *         shares the caller's memory, and suspends the caller, until it executes. So it must not
 *         look up a path, which may be on a file system that never answers; change its ids, because
 *         the shared memory would become another user's; install a filter, which may end the caller
 *         too; or have a PID 1 that stays, which is one more process.
 *
 * Rows are appended: the number of a row is its attribute's type.
 */
#ifndef NSX_LAUNCH_FIELDS_H
#define NSX_LAUNCH_FIELDS_H

/* clang-format off */
#define LAUNCH_FIELDS(X) \
	X(HOSTNAME,        hostname,        TEXT,   0,     PREPARE, DIRECT) \
	/* Mount a /proc of the new PID namespace over the one that is there. */ \
	X(MOUNT_PROC,      mount_proc,      FLAG,   false, PREPARE, DIRECT) \
	X(CWD,             cwd,             TEXT,   0,     PREPARE, STAGED) \
	/* "0,1,2,9", rising: the descriptors that the payload may inherit. */ \
	X(KEEP_FDS,        keep_fds,        TEXT,   0,     STAGES,  DIRECT) \
	X(CGROUP_FD,       cgroup_fd,       NUMBER, -1,    STAGES,  STAGED) \
	/* The milliseconds that a mapping tool may take. */ \
	X(TIMEOUT,         timeout_ms,      NUMBER, 10000, STAGES,  DIRECT) \
	X(TRACE,           trace,           FLAG,   false, STAGES,  STAGED) \
	X(LOOPBACK,        loopback,        FLAG,   false, PREPARE, DIRECT) \
	/* An absolute path; "tmpfs", or "tmpfs,OPTIONS". */ \
	X(ROOT,            root,            TEXT,   0,     PREPARE, STAGED) \
	X(READ_ONLY,       read_only,       FLAG,   false, PREPARE, STAGED) \
	/* A list for records_next_mount(). */ \
	X(MOUNTS,          mounts,          BYTES,  0,     PREPARE, STAGED) \
	X(KEEP_SESSION,    keep_session,    FLAG,   false, STAGES,  DIRECT) \
	X(TERMINAL,        terminal,        FLAG,   false, CONFINE, STAGED) \
	/* Where a PID 1 that stays reports what killed its child. */ \
	X(INIT_FD,         init_fd,         NUMBER, -1,    STAGES,  STAGED) \
	/* A list for records_next_limit(). */ \
	X(RLIMITS,         rlimits,         TEXT,   0,     CONFINE, DIRECT) \
	X(UMASK,           umask,           NUMBER, -1,    CONFINE, DIRECT) \
	/* The mask of sched_setaffinity(2). */ \
	X(CPUS,            cpus,            BYTES,  0,     CONFINE, DIRECT) \
	X(UID,             uid,             ID,     -1,    CONFINE, STAGED) \
	X(GID,             gid,             ID,     -1,    CONFINE, STAGED) \
	/* An array of gid_t. */ \
	X(GROUPS,          groups,          BYTES,  0,     CONFINE, STAGED) \
	/* A list for records_next_capability(). */ \
	X(CAPABILITIES,    capabilities,    TEXT,   0,     CONFINE, DIRECT) \
	X(NO_NEW_PRIVS,    no_new_privs,    FLAG,   false, CONFINE, DIRECT) \
	/* A list for records_next_rule(). */ \
	X(LANDLOCK,        landlock,        BYTES,  0,     CONFINE, STAGED) \
	/* An array of struct sock_filter. */ \
	X(SECCOMP,         seccomp,         BYTES,  0,     FILTER,  STAGED) \
	X(SECCOMP_FLAGS,   seccomp_flags,   BITS,   0,     FILTER,  STAGED) \
	/* The payload does; or the PID 1 that stays, and the payload with it. */ \
	X(DIE_WITH_PARENT, die_with_parent, FLAG,   false, STAGES,  DIRECT) \
	/* The group for setpgid(2): 0 is a new one. */ \
	X(PROCESS_GROUP,   process_group,   NUMBER, -1,    CONFINE, DIRECT) \
	/* The capabilities that stage 2 has at most, and those that an execve(2) could give it, from */ \
	/* its first moment on if a joined PID namespace can see it; for records_next_capability(). */ \
	/* Without KEEP_CAPS, it has what the caller has. */ \
	X(KEEP_CAPS,       keep_caps,       TEXT,   0,     STAGES,  STAGED) \
	X(BOUNDING,        bounding,        TEXT,   0,     STAGES,  STAGED) \
	/* "5,6": `tasks` files of cgroup v1, by which stage 1 enters them. */ \
	X(TASKS_FDS,       tasks_fds,       TEXT,   0,     STAGES,  STAGED) \
	/* A byte from here lets the program be executed. */ \
	X(GATE_FD,         gate_fd,         NUMBER, -1,    STAGES,  STAGED) \
	/* nsinit, which PID 1 executes after its child has taken over its memory. */ \
	X(REAPER_FD,       reaper_fd,       NUMBER, -1,    STAGES,  STAGED) \
	/* A socket to which the listener of the filter is sent: somebody answers for the kernel. */ \
	X(LISTENER_FD,     listener_fd,     NUMBER, -1,    FILTER,  STAGED)
/* clang-format on */

#endif
