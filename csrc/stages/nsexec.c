/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/nsexec.h"

#include "base/clone.h"
#include "base/descriptor.h"
#include "base/fallback.h"
#include "base/proc.h"
#include "inside/confinement.h"
#include "inside/credentials.h"
#include "inside/mount_api.h"
#include "inside/mounts.h"
#include "inside/root.h"
#include "stages/become_root.h"
#include "stages/init_pipe.h"
#include "stages/mount_sources.h"
#include "stages/sync.h"
#include "stages/write_maps.h"

#define STAGE_1 "stage 1 (child)"
#define STAGE_2 "stage 2 (init)"
#define STAGE_0 "stage 0 (parent)"

#define NEEDED 9 /* descriptors of the stages themselves, see shed() */

_Noreturn void nsexec_fail(const struct nsexec *ns, const struct err *err)
{
	report_error(&ns->report, err);
	sys_exit(1);
}

static void enter_stage(struct nsexec *ns, const char *stage, const char *process_name)
{
	ns->report.stage = stage;
	sys_prctl(PR_SET_NAME, (unsigned long)process_name);
	report_trace(&ns->report, "start");
}

/* Only a process that joins somebody's namespaces can be seen and ptraced by the processes
 * there. */
static void set_dumpable(const struct nsexec *ns, enum dumpable dumpable)
{
	if (ns->boot.join.count)
		sys_prctl(PR_SET_DUMPABLE, dumpable);
}

static int update_oom_score_adj(const struct bootstrap *boot, struct err *err)
{
	if (!boot->oom_score_adj.data)
		return 0;
	return proc_write("/proc/self/oom_score_adj", boot->oom_score_adj, err);
}

int nsexec_cut(const struct nsexec *ns, struct err *err)
{
	int needed[1 + MOUNTS_MAX] = { ns->place };
	size_t count = 1 + mounts_trees(ns->launch.mounts, needed + 1);

	if (ns->arrived)
		return 0;
	return confinement_close_others(ns->launch.keep_fds, needed, count, err);
}

int nsexec_arrive(struct nsexec *ns, struct err *err)
{
	if (ns->arrived)
		return 0;
	ns->arrived = true;
	return ns->arrive ? ns->arrive(ns, err) : confinement_prepare(&ns->launch, err);
}

/* ---- stage 2, INIT ------------------------------------------------------------------- */

/* Wait until stage 0 has ended: its end of the socket is closed after it has released its memory.
 * From then on stage 2 is the only process with this memory, and may run untrusted code. */
static int await_sole_use(int sync_fd, struct err *err)
{
	char byte;
	long n = sys_read(sync_fd, &byte, 1);

	if (n == 0)
		return 0;
	return err_set(err, "sync", STAGE_0 ", which should have ended", n < 0 ? n : EPROTO);
}

/* A process that shares memory cannot be cloned into a new time namespace: enter it afterwards. */
static int enter_time(const struct bootstrap *boot, struct err *err)
{
	static const char path[] = "/proc/self/ns/time_for_children";
	OWNED_FD fd = -1;
	long ret;

	if (!(boot->cloneflags & CLONE_NEWTIME))
		return 0;
	if (namespaces_unshare(CLONE_NEWTIME, err) < 0)
		return -1;
	fd = sys_open(path, O_RDONLY);
	if (fd < 0)
		return err_set(err, "open", path, fd);
	ret = SYS2(SYS_setns, fd, CLONE_NEWTIME);
	return ret < 0 ? err_set(err, "setns", path, ret) : 0;
}

static void stage_init(struct nsexec *ns, int sync_fd)
{
	struct err err;
	int value;

	enter_stage(ns, "init", "ns:[2:INIT]");
	if (sync_wait(sync_fd, SYNC_GO, &value, STAGE_0, &err) < 0 ||
	    lead_session(ns->launch.keep_session, &err) < 0 ||
	    (!ns->settled && gain_root(&ns->boot, ns->launched, &err) < 0) ||
	    sync_send(sync_fd, SYNC_DONE, NO_VALUE, STAGE_0, &err) < 0)
		nsexec_fail(ns, &err);
	if (ns->took_over && (await_sole_use(sync_fd, &err) < 0 || enter_time(&ns->boot, &err) < 0))
		nsexec_fail(ns, &err);
	sys_close(sync_fd);
	report_trace(&ns->report, "settled");
}

/*
 * The stages are in a process group of their own. If stage 2 keeps the caller's session, it must be
 * in the caller's process group. It is born there: in a new PID namespace, that group has no number
 * by which stage 2 could enter it.
 */
static long clone_init(const struct nsexec *ns, const struct clone_request *request)
{
	long group, pid;

	if (!ns->launch.keep_session)
		return process_clone(request);
	group = SYS1(SYS_getpgid, 0);
	SYS2(SYS_setpgid, 0, SYS1(SYS_getpgid, SYS0(SYS_getppid)));
	pid = process_clone(request);
	if (pid != 0)
		SYS2(SYS_setpgid, 0, group);
	return pid;
}

/* ---- stage 1, CHILD ------------------------------------------------------------------ */

/* Open the file of the offsets. It must be opened before anything is joined: it is the host's then,
 * and the kernel checks the privileges that the process has when it opens it. *fd is -1 if there
 * are no offsets. */
static int open_offsets(const struct nsexec *ns, int *fd, struct err *err)
{
	static const char path[] = "/proc/self/timens_offsets";

	*fd = -1;
	if (!ns->boot.timens_offsets.data)
		return 0;
	set_dumpable(ns, DUMPABLE);
	*fd = sys_open(path, O_WRONLY);
	set_dumpable(ns, NOT_DUMPABLE);
	return *fd < 0 ? err_set(err, "open", path, *fd) : 0;
}

/* Write the offsets, and close their file. This must be done after the namespace is made and before
 * a process is in it: later, the kernel refuses it. */
static int write_offsets(const struct bootstrap *boot, int offsets_fd, struct err *err)
{
	OWNED_FD fd = offsets_fd;
	long ret;

	if (fd < 0)
		return 0;
	ret = sys_write(fd, boot->timens_offsets.data, boot->timens_offsets.len);
	return ret < 0 ? err_set_span(err, "write timens_offsets", boot->timens_offsets, ret) : 0;
}

static int unshare_user(const struct nsexec *ns, int sync_fd, struct err *err)
{
	int value;
	long ret;

	if (!(ns->boot.cloneflags & CLONE_NEWUSER))
		return 0;
	if (namespaces_unshare(CLONE_NEWUSER, err) < 0)
		return -1;
	/* The maps in /proc belong to root as long as the process is not dumpable. */
	set_dumpable(ns, DUMPABLE);
	if (sync_send(sync_fd, SYNC_USERMAP, NO_VALUE, STAGE_0, err) < 0 ||
	    sync_wait(sync_fd, SYNC_USERMAP_ACK, &value, STAGE_0, err) < 0)
		return -1;
	set_dumpable(ns, NOT_DUMPABLE);
	report_trace(&ns->report, "mapped");
	if (has_root_id(&ns->boot, ns->boot.uidmap, ns->launched) &&
	    (ret = SYS3(SYS_setresuid, 0, 0, 0)) < 0)
		return err_set(err, "setresuid", "0 in the new user namespace", ret);
	return 0;
}

/* Returns the namespaces that are unshared together: all but the user namespace, which comes first
 * so that it owns the others, and the cgroup namespace, which gain_root() makes. */
static uint32_t other_flags(const struct bootstrap *boot)
{
	return boot->cloneflags & ~(uint32_t)(CLONE_NEWUSER | CLONE_NEWCGROUP);
}

static int enter_namespaces(struct nsexec *ns, int sync_fd, struct err *err)
{
	uint32_t joined = namespaces_flags(&ns->boot.join);
	int offsets_fd;

	/* If the caller may not mount, products/shim.c makes the place later, with the privileges
	 * that the joined user namespace gives. */
	if (ns->boots && (joined & CLONE_NEWNS))
		ns->place = root_make_empty_apart();
	if (ns->launched && (joined & CLONE_NEWNS))
		fallback_prepare();
	if (open_offsets(ns, &offsets_fd, err) < 0 || namespaces_open(&ns->boot.join, err) < 0 ||
	    namespaces_join(&ns->boot.join, err) < 0)
		return -1;
	report_trace(&ns->report, "joined");
	if (unshare_user(ns, sync_fd, err) < 0 ||
	    namespaces_unshare(other_flags(&ns->boot), err) < 0 ||
	    write_offsets(&ns->boot, offsets_fd, err) < 0)
		return -1;
	report_trace(&ns->report, "unshared");
	return 0;
}

/* Enter cgroups of v1. A process that moves another waits for a grace period of the kernel. A
 * process with one thread that moves itself does not. */
static int enter_cgroups_v1(const struct nsexec *ns, struct err *err)
{
	struct span tasks_fds = ns->launch.tasks_fds;
	unsigned fd;

	while (launch_next_fd(&tasks_fds, &fd)) {
		long ret = sys_write((int)fd, "0", 1);

		if (ret < 0)
			return err_set_span(err, "enter a cgroup by one of the descriptors",
					    ns->launch.tasks_fds, ret);
	}
	return 0;
}

/*
 * The socket pairs of stage 0 with each of the others; [0] is stage 0's end. A stage that dies is
 * noticed because its end is closed, so no other process may hold that end. Each stage closes the
 * ends that are not its own right after the clone; after that, an end is closed when its stage
 * ends. They are not OWNED_FD, because all stages run on from the same scope.
 */
struct pairs {
	int child[2];
	int init[2];
};

/* Returns whether processes of a joined PID namespace see stage 2, from its first moment on. */
static bool is_seen(const struct nsexec *ns)
{
	return ns->launched && (namespaces_flags(&ns->boot.join) & CLONE_NEWPID);
}

/* Returns whether stage 1 can mount the /proc of the PID namespace that its children are in, and
 * notes how. It names that namespace by a path in its own /proc, which must be the caller's. */
static bool can_mount_proc(struct nsexec *ns)
{
	static const char option[] = "pidns=/proc/self/ns/pid_for_children";
	const struct span options = { option, sizeof(option) - 1 };
	OWNED_FD fd = -1;

	if (namespaces_flags(&ns->boot.join) & CLONE_NEWNS)
		return false;
	fd = mount_new("proc", options, NO_MOUNT_ATTRIBUTES);
	if (fd < 0)
		return false;
	ns->launch.proc_options = options;
	return true;
}

/*
 * Give up what stage 2 must not have. Nothing that names a place of the host may be open in stage
 * 2, and it may have no capability that it does not need, from its first moment on.
 *
 * A container with CAP_SYS_PTRACE can seize stage 2 as soon as it is in the PID namespace. It can
 * open its /proc/PID/fd/N, root and cwd, from where ".." leads to the root of the host; it can take
 * its descriptors by pidfd_getfd(2); and it can run code in it, with its capabilities. That stage 2
 * is not dumpable stops only a container without that capability (CVE-2016-9962). So stage 1, which
 * no process of the container can see, takes all steps that need more than the payload may have. To
 * take them in stage 2, and give everything up afterwards, was considered: a container that is
 * quick enough gets what stage 2 still has.
 *
 * Before Linux 6.17, a new /proc shows the PID namespace of the process that mounts it. If one is
 * asked for, stage 2 has to take these steps itself.
 */
static int shed(struct nsexec *ns, const struct pairs *pairs, struct err *err)
{
	int needed[NEEDED + MOUNTS_MAX] = { pairs->child[1],	pairs->init[1],
					    ns->init_fd,	ns->report.status_fd,
					    ns->report.log_fd,	ns->launch.init_fd,
					    ns->launch.gate_fd, ns->launch.listener_fd,
					    ns->place };
	const char *stage = ns->report.stage;
	const size_t count = NEEDED + mounts_trees(ns->launch.mounts, needed + NEEDED);

	if (!ns->launched)
		return 0;
	if (confinement_close_others(ns->launch.keep_fds, needed, count, err) < 0)
		return -1;
	fallback_release();
	if (!is_seen(ns))
		return 0;
	ns->report.stage = "init"; /* errors are those of stage 2, whose steps these are */
	if (gain_root(&ns->boot, ns->launched, err) < 0)
		return -1;
	ns->settled = true;
	if ((!confinement_mounts_proc(&ns->launch) || can_mount_proc(ns)) &&
	    (nsexec_arrive(ns, err) < 0 || credentials_hold(&ns->launch, err) < 0))
		return -1;
	ns->report.stage = stage;
	return 0;
}

/* Returns in stage 2. */
static void stage_child(struct nsexec *ns, const struct pairs *pairs)
{
	const struct clone_request request = {
		.flags = CLONE_PARENT,
		.cgroup_fd = -1,
		.thread_id = ns->thread_id,
	};
	int sync_fd = pairs->child[1];
	struct err err;
	int value;
	long pid;

	sys_close(pairs->child[0]);
	sys_close(pairs->init[0]);
	enter_stage(ns, "child", "ns:[1:CHILD]");
	if (enter_cgroups_v1(ns, &err) < 0 || enter_namespaces(ns, sync_fd, &err) < 0 ||
	    mount_sources_receive(ns, sync_fd, STAGE_0, &err) < 0 || shed(ns, pairs, &err) < 0)
		nsexec_fail(ns, &err);
	pid = clone_init(ns, &request);
	if (pid == 0) {
		sys_close(sync_fd);
		stage_init(ns, pairs->init[1]);
		return;
	}
	sys_close(pairs->init[1]);
	if (pid < 0) {
		err_set(&err, "clone", STAGE_2, pid);
		nsexec_fail(ns, &err);
	}
	if (sync_send(sync_fd, SYNC_PID, (int)pid, STAGE_0, &err) < 0 ||
	    sync_wait(sync_fd, SYNC_PID_ACK, &value, STAGE_0, &err) < 0 ||
	    sync_send(sync_fd, SYNC_DONE, NO_VALUE, STAGE_0, &err) < 0)
		nsexec_fail(ns, &err);
	sys_exit(0);
}

/* ---- stage 0, PARENT ----------------------------------------------------------------- */

static int write_maps(const struct nsexec *ns, int pid, struct err *err)
{
	if (maps_write(&ns->boot, pid, ns->init_fd, ns->launch.timeout_ms, err) < 0)
		return -1;
	report_trace(&ns->report, "mapped");
	return 0;
}

static int serve_pid(const struct nsexec *ns, int pid1, int pid2, struct err *err)
{
	/* Stage 2 waits for this stage, so its pid cannot mean another process yet. */
	OWNED_FD pidfd = ns->launched ? (int)SYS2(SYS_pidfd_open, pid2, 0) : -1;

	return init_pipe_reply(ns, pid1, pid2, pidfd, err);
}

/* Do what stage 1 asks for until it is done. */
static int serve_child(const struct nsexec *ns, int sync_fd, int pid1, struct err *err)
{
	for (;;) {
		enum sync_kind kind = 0;
		int value = 0;

		if (sync_read(sync_fd, &kind, &value, STAGE_1, err) < 0)
			return -1;
		switch (kind) {
		case SYNC_USERMAP:
			if (write_maps(ns, pid1, err) < 0 ||
			    sync_send(sync_fd, SYNC_USERMAP_ACK, NO_VALUE, STAGE_1, err) < 0)
				return -1;
			break;
		case SYNC_SOURCES:
			if (mount_sources_send(ns, pid1, sync_fd, STAGE_1, err) < 0)
				return -1;
			break;
		case SYNC_PID:
			if (serve_pid(ns, pid1, value, err) < 0 ||
			    sync_send(sync_fd, SYNC_PID_ACK, NO_VALUE, STAGE_1, err) < 0)
				return -1;
			break;
		case SYNC_DONE:
			return 0;
		default:
			return err_set(err, "sync", "a message out of turn", EPROTO);
		}
	}
}

static int release_init(int sync_fd, struct err *err)
{
	int value;

	if (sync_send(sync_fd, SYNC_GO, NO_VALUE, STAGE_2, err) < 0)
		return -1;
	return sync_wait(sync_fd, SYNC_DONE, &value, STAGE_2, err);
}

/* Go through the three stages, as runc does. Returns in stage 2. */
static void stage_parent(struct nsexec *ns)
{
	const struct clone_request request = {
		.flags = CLONE_PARENT,
		.cgroup_fd = ns->launch.cgroup_fd,
		.thread_id = ns->thread_id,
	};
	struct pairs pairs;
	struct err err;
	long pid1;

	if (sync_pair(pairs.child, &err) < 0 || sync_pair(pairs.init, &err) < 0)
		nsexec_fail(ns, &err);
	pid1 = process_clone(&request);
	if (pid1 == 0) {
		stage_child(ns, &pairs);
		return;
	}
	sys_close(pairs.child[1]);
	sys_close(pairs.init[1]);
	if (pid1 < 0) {
		err_set(&err, "clone", STAGE_1, pid1);
		nsexec_fail(ns, &err);
	}
	if (serve_child(ns, pairs.child[0], (int)pid1, &err) < 0 ||
	    release_init(pairs.init[0], &err) < 0)
		nsexec_fail(ns, &err);
	report_trace(&ns->report, "done");
	sys_exit(0);
}

/* Returns whether one clone3(2) can do what otherwise requires stage 1: nothing is joined, and no
 * time offsets have to be written between the making of a namespace and its first process. */
static bool takes_one_clone(const struct nsexec *ns)
{
	return ns->launched && ns->boot.join.count == 0 && !ns->boot.timens_offsets.data &&
	       !ns->launch.tasks_fds.data;
}

/* What stage 0 still needs after stage 2 may have taken over its memory. Stage 2 must not access
 * it. */
struct parting {
	struct nsexec ns;
	int pair[2];
	int pidfd;
	long group; /* the process group to enter again; 0: it has not changed */
};

static _Noreturn void end_parent(long pid, void *context)
{
	struct parting *own = context;
	struct nsexec *ns = &own->ns;
	struct err err;

	if (own->group)
		SYS2(SYS_setpgid, 0, own->group);
	sys_close(own->pair[1]);
	if (write_maps(ns, (int)pid, &err) < 0 ||
	    init_pipe_reply(ns, 0, (int)pid, own->pidfd, &err) < 0 ||
	    release_init(own->pair[0], &err) < 0)
		nsexec_fail(ns, &err);
	report_trace(&ns->report, "done");
	sys_exit(0);
}

/* As clone_init(); stage 0 does not return from it. */
static long clone_in_place(struct parting *own, const struct clone_request *request)
{
	const struct take_over *take_over = own->ns.take_over;
	struct clone_request without_time = *request; /* enter_time() enters it afterwards */
	long pid;

	without_time.flags &= ~(uint64_t)CLONE_NEWTIME;

	if (own->ns.launch.keep_session) {
		own->group = SYS1(SYS_getpgid, 0);
		SYS2(SYS_setpgid, 0, SYS1(SYS_getpgid, SYS0(SYS_getppid)));
	}
	pid = process_clone_in_place(&without_time, take_over->stack_top, end_parent, own);
	take_over->arrive();
	if (pid != 0 && own->group) {
		SYS2(SYS_setpgid, 0, own->group);
		own->group = 0;
	}
	return pid;
}

/* Go through stages 0 and 2 alone. Returns 0 in stage 2, or -ENOSYS if clone3(2) cannot be used. */
static long stage_parent_one_clone(struct nsexec *ns)
{
	static struct parting own; /* not on the stack, which stage 2 may take over */
	const struct clone_request request = {
		.flags = CLONE_PARENT | (ns->boot.cloneflags & ~(uint32_t)CLONE_NEWCGROUP),
		.cgroup_fd = ns->launch.cgroup_fd,
		.pidfd = &own.pidfd,
		.thread_id = ns->thread_id,
	};
	struct err err;
	int pair[2];
	long pid;

	if (sync_pair(pair, &err) < 0)
		nsexec_fail(ns, &err);
	own = (struct parting){ .ns = *ns, .pair = { pair[0], pair[1] }, .pidfd = -1 };
	pid = -ENOSYS;
	/* Only stage 2 needs the memory of stage 0 from here on, so it need not be copied. */
	if (ns->take_over && ns->take_over->leave()) {
		pid = clone_in_place(&own, &request);
		ns->took_over = pid == 0;
	}
	if (pid == -ENOSYS)
		pid = clone_init(ns, &request);
	if (pid == 0) {
		sys_close(pair[0]);
		stage_init(ns, pair[1]);
		return 0;
	}
	if (pid == -ENOSYS) {
		sys_close(pair[0]);
		sys_close(pair[1]);
		return pid;
	}
	if (pid < 0) {
		namespaces_refused(ns->boot.cloneflags, "clone3", pid, &err);
		nsexec_fail(ns, &err);
	}
	end_parent(pid, &own);
}

static void run_stages(struct nsexec *ns)
{
	struct err err;

	if (update_oom_score_adj(&ns->boot, &err) < 0)
		nsexec_fail(ns, &err);
	set_dumpable(ns, NOT_DUMPABLE);
	if (!takes_one_clone(ns) || stage_parent_one_clone(ns) == -ENOSYS)
		stage_parent(ns);
}

void nsexec(struct nsexec *ns)
{
	const struct sys_sigaction ignore = { .handler = SIG_IGN };
	struct err err;

	/* A log pipe that nobody reads must not kill a stage. */
	sys_sigaction(SIGPIPE, &ignore, &ns->sigpipe);
	ns->report.stage = "parent";
	if (init_pipe_hello(ns, &err) < 0 || init_pipe_receive(ns, &err) < 0)
		nsexec_fail(ns, &err);
	enter_stage(ns, "parent", "ns:[0:PARENT]");
	run_stages(ns);
}

void nsexec_restore_signals(const struct nsexec *ns)
{
	sys_sigaction(SIGPIPE, &ns->sigpipe, NULL);
}
