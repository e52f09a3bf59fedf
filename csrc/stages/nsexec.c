/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/nsexec.h"

#include "base/clone.h"
#include "base/fallback.h"
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

#define NEEDED 8 /* descriptors of the stages themselves, see shed() */

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

static void set_dumpable(const struct nsexec *ns, bool dumpable)
{
	/* Only what joins somebody's namespaces can be seen and ptraced from there. */
	if (ns->boot.join.count)
		sys_prctl(PR_SET_DUMPABLE, dumpable);
}

static int update_oom_score_adj(const struct bootstrap *boot, struct err *err)
{
	static const char path[] = "/proc/self/oom_score_adj";
	long fd, ret;

	if (!boot->oom_score_adj.data)
		return 0;
	fd = sys_open(path, O_WRONLY);
	if (fd < 0)
		return err_set(err, "open", path, fd);
	ret = sys_write((int)fd, boot->oom_score_adj.data, boot->oom_score_adj.len);
	sys_close((int)fd);
	return ret < 0 ? err_set(err, "write", path, ret) : 0;
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

	return n == 0 ? 0
		      : err_set(err, "sync", STAGE_0 ", which should have ended",
				n < 0 ? n : EPROTO);
}

/* A process that shares memory cannot be cloned into a new time namespace: enter it afterwards. */
static int enter_time(const struct bootstrap *boot, struct err *err)
{
	static const char path[] = "/proc/self/ns/time_for_children";
	long fd, ret;

	if (!(boot->cloneflags & CLONE_NEWTIME))
		return 0;
	if (namespaces_unshare(CLONE_NEWTIME, err) < 0)
		return -1;
	fd = sys_open(path, O_RDONLY);
	if (fd < 0)
		return err_set(err, "open", path, fd);
	ret = SYS2(SYS_setns, fd, CLONE_NEWTIME);
	sys_close((int)fd);
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
	    sync_send(sync_fd, SYNC_DONE, 0, STAGE_0, &err) < 0)
		nsexec_fail(ns, &err);
	if (ns->took_over && (await_sole_use(sync_fd, &err) < 0 || enter_time(&ns->boot, &err) < 0))
		nsexec_fail(ns, &err);
	sys_close(sync_fd);
	report_trace(&ns->report, "settled");
}

/* The stages are in a process group of their own, stage 2 in the caller's where it keeps that
 * one's session: it is born there, as in a new pid namespace there is no number for it. */
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

/* The file is opened before anything is joined: it then is the host's, and its writer's
 * privilege over the time namespace is the caller's. *fd is -1 where there are no offsets. */
static int open_offsets(const struct nsexec *ns, int *fd, struct err *err)
{
	static const char path[] = "/proc/self/timens_offsets";

	*fd = -1;
	if (!ns->boot.timens_offsets.data)
		return 0;
	set_dumpable(ns, true);
	*fd = (int)sys_open(path, O_WRONLY);
	set_dumpable(ns, false);
	return *fd < 0 ? err_set(err, "open", path, *fd) : 0;
}

/* After the namespace is made and before the first process is in it: later they are refused. */
static int write_offsets(const struct bootstrap *boot, int fd, struct err *err)
{
	long ret;

	if (fd < 0)
		return 0;
	ret = sys_write(fd, boot->timens_offsets.data, boot->timens_offsets.len);
	sys_close(fd);
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
	set_dumpable(ns, true);
	if (sync_send(sync_fd, SYNC_USERMAP, 0, STAGE_0, err) < 0 ||
	    sync_wait(sync_fd, SYNC_USERMAP_ACK, &value, STAGE_0, err) < 0)
		return -1;
	set_dumpable(ns, false);
	report_trace(&ns->report, "mapped");
	if (has_root_id(&ns->boot, ns->boot.uidmap, ns->launched) &&
	    (ret = SYS3(SYS_setresuid, 0, 0, 0)) < 0)
		return err_set(err, "setresuid", "0 in the new user namespace", ret);
	return 0;
}

/* Everything but the user namespace, which comes first so that the others belong to it, and
 * the cgroup namespace, which stage 2 makes. */
static uint32_t other_flags(const struct bootstrap *boot)
{
	return boot->cloneflags & ~(uint32_t)(CLONE_NEWUSER | CLONE_NEWCGROUP);
}

static int enter_namespaces(struct nsexec *ns, int sync_fd, struct err *err)
{
	uint32_t joined = namespaces_flags(&ns->boot.join);
	int offsets_fd;

	/* If the caller may not mount here, the product makes its place later, with the rights that
	 * the user namespace gives that is joined. */
	if (ns->boots && (joined & CLONE_NEWNS))
		ns->place = (int)root_make_empty_apart();
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

/* Enter cgroups of v1. A process with one thread that moves itself need not wait for a grace period
 * of the kernel, as one that moves another does. */
static int go_through_doors(const struct nsexec *ns, struct err *err)
{
	struct span doors = ns->launch.doors;
	unsigned door;

	while (launch_next_fd(&doors, &door)) {
		long ret = sys_write((int)door, "0", 1);

		if (ret < 0)
			return err_set_span(err, "enter a cgroup by one of the descriptors",
					    ns->launch.doors, ret);
	}
	return 0;
}

/* The socket pairs of stage 0 with the two others; [0] is stage 0's end. */
struct pairs {
	int child[2];
	int init[2];
};

/* Whether processes of a joined PID namespace see stage 2, from its first moment on. */
static bool is_seen(const struct nsexec *ns)
{
	return ns->launched && (namespaces_flags(&ns->boot.join) & CLONE_NEWPID);
}

/* Whether stage 1 can mount the /proc of the PID namespace that its children are in. It names that
 * by its own /proc, which must be the caller's. */
static bool can_mount_proc(struct nsexec *ns)
{
	static const char option[] = "pidns=/proc/self/ns/pid_for_children";
	const struct span options = { option, sizeof(option) - 1 };
	long fd;

	if (namespaces_flags(&ns->boot.join) & CLONE_NEWNS)
		return false;
	fd = mount_new("proc", options, 0);
	if (fd < 0)
		return false;
	sys_close((int)fd);
	ns->launch.proc_options = options;
	return true;
}

/*
 * A container with CAP_SYS_PTRACE may do with stage 2 what it likes from its first moment on: open
 * /proc/PID/fd/N, root and cwd, from where ".." leads to the root of the host; take descriptors
 * by pidfd_getfd(2); run code in it with its capabilities. That stage 2 cannot be dumped stops a
 * container without that capability only (CVE-2016-9962). So it gets nothing that is not the
 * payload's: stage 1, which nobody in there can see, does all that takes more.
 *
 * Before Linux 6.17, a new /proc shows the PID namespace of the process that mounts it. If one is
 * asked for, stage 2 then has to do all of that itself.
 */
static int shed(struct nsexec *ns, const struct pairs *pairs, struct err *err)
{
	int needed[NEEDED + MOUNTS_MAX] = { pairs->child[1],	pairs->init[1],
					    ns->init_fd,	ns->report.status_fd,
					    ns->report.log_fd,	ns->launch.init_fd,
					    ns->launch.gate_fd, ns->place };
	const char *stage = ns->report.stage;
	const size_t count = NEEDED + mounts_trees(ns->launch.mounts, needed + NEEDED);

	if (!ns->launched)
		return 0;
	if (confinement_close_others(ns->launch.keep_fds, needed, count, err) < 0)
		return -1;
	fallback_release();
	if (!is_seen(ns))
		return 0;
	ns->report.stage = "init"; /* the steps are stage 2's, and so are their errors */
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

	/* An end that only one process holds is closed when it dies: that is how it is seen. */
	sys_close(pairs->child[0]);
	sys_close(pairs->init[0]);
	enter_stage(ns, "child", "ns:[1:CHILD]");
	if (go_through_doors(ns, &err) < 0 || enter_namespaces(ns, sync_fd, &err) < 0 ||
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
	    sync_send(sync_fd, SYNC_DONE, 0, STAGE_0, &err) < 0)
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
	/* Stage 2 waits for us, so its pid is its own still. */
	int pidfd = ns->launched ? (int)SYS2(SYS_pidfd_open, pid2, 0) : -1;
	int result = init_pipe_reply(ns, pid1, pid2, pidfd, err);

	if (pidfd >= 0)
		sys_close(pidfd);
	return result;
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
			    sync_send(sync_fd, SYNC_USERMAP_ACK, 0, STAGE_1, err) < 0)
				return -1;
			break;
		case SYNC_SOURCES:
			if (mount_sources_send(ns, pid1, sync_fd, STAGE_1, err) < 0)
				return -1;
			break;
		case SYNC_PID:
			if (serve_pid(ns, pid1, value, err) < 0 ||
			    sync_send(sync_fd, SYNC_PID_ACK, 0, STAGE_1, err) < 0)
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

	if (sync_send(sync_fd, SYNC_GO, 0, STAGE_2, err) < 0)
		return -1;
	return sync_wait(sync_fd, SYNC_DONE, &value, STAGE_2, err);
}

/* The three stages, as runc goes through them. Returns in stage 2. */
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

/* Whether one clone3 can do what otherwise takes stage 1: nothing is joined, and no time
 * offsets have to be written between making a namespace and its first process. */
static bool takes_one_clone(const struct nsexec *ns)
{
	return ns->launched && ns->boot.join.count == 0 && !ns->boot.timens_offsets.data &&
	       !ns->launch.doors.data;
}

/* What stage 0 still needs after stage 2 may have taken over its memory. */
struct parting {
	struct nsexec ns;
	int pair[2];
	int pidfd;
	long group; /* the process group to be in again; 0: it has not changed */
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
	struct clone_request without_time = *request;
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

/* Stage 0 and 2 alone. Returns in stage 2, or with -ENOSYS where there is no clone3. */
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
	/* No other process needs the memory of stage 0, so it need not be copied. */
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
	set_dumpable(ns, false);
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
