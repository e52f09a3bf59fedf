/* SPDX-License-Identifier: Apache-2.0 */
#include "clone.h"

/* The flags that only say how the child's thread id is kept. libc's fork asks for the same. */
static uint64_t thread_flags(const struct clone_request *request)
{
	return request->thread_id ? CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID : 0;
}

static long clone3(const struct clone_request *request)
{
	struct clone_args args = {
		.flags = request->flags | thread_flags(request),
		.pidfd = (uintptr_t)request->pidfd,
		.child_tid = (uintptr_t)request->thread_id,
		.exit_signal = request->flags & CLONE_PARENT ? 0 : SIGCHLD,
	};

	if (request->pidfd)
		args.flags |= CLONE_PIDFD;
	if (request->cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)request->cgroup_fd;
	}
	return SYS2(SYS_clone3, &args, sizeof(args));
}

/* The older call, for kernels and seccomp filters (of a container around us) without clone3. */
static long clone2(const struct clone_request *request)
{
	unsigned long flags = (unsigned long)(request->flags | thread_flags(request) | SIGCHLD);

	if (request->pidfd)
		flags |= CLONE_PIDFD;
#if defined(__x86_64__)
	return SYS5(SYS_clone, flags, 0, request->pidfd, request->thread_id, 0);
#else
	/* CONFIG_CLONE_BACKWARDS: the thread pointer comes before the child's id. */
	return SYS5(SYS_clone, flags, 0, request->pidfd, 0, request->thread_id);
#endif
}

/* Whether a filter refuses clone3(2): without arguments, the kernel itself gives another error. */
static bool is_filtered(void)
{
	return SYS2(SYS_clone3, 0, 0) == -EPERM;
}

/* Move the calling process into the cgroup, so that its child is born there: a child that is moved
 * later may have children of its own by then. The calling process is a stage, which ends soon. */
static long enter_cgroup(int cgroup_fd)
{
	long fd = SYS4(SYS_openat, cgroup_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC, 0);
	long ret = fd < 0 ? fd : sys_write((int)fd, "0", 1);

	if (fd >= 0)
		sys_close((int)fd);
	return ret < 0 ? ret : 0;
}

long process_clone(const struct clone_request *request)
{
	long ret = clone3(request);

	if (ret == -EPERM && is_filtered())
		ret = -ENOSYS;
	/* CLONE_NEWTIME is a bit of the older call's exit signal. */
	if (ret != -ENOSYS || (request->flags & CLONE_NEWTIME))
		return ret;
	ret = request->cgroup_fd >= 0 ? enter_cgroup(request->cgroup_fd) : 0;
	return ret < 0 ? ret : clone2(request);
}
