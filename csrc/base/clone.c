/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clone.h"

#include "base/descriptor.h"

/* Returns the flags that have the kernel keep the child's thread id where libc expects it, as the
 * fork(2) of libc asks for it. */
static uint64_t thread_flags(const struct clone_request *request)
{
	return request->thread_id ? CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID : 0;
}

static struct clone_args arguments(const struct clone_request *request)
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
	return args;
}

static long clone3(const struct clone_request *request)
{
	struct clone_args args = arguments(request);

	return SYS2(SYS_clone3, &args, sizeof(args));
}

/*
 * From the system call on, the child uses the stack of the calling process. The calling process
 * must therefore neither write to that stack nor return: a value that a compiler saves there would
 * overwrite the child's. So everything that it needs is in registers, and its first instructions
 * change to the other stack and call `rest`. This cannot be written in C.
 */
#if defined(__x86_64__)
static long clone3_in_place(const struct clone_args *args, void *stack_top, clone_rest *rest,
			    void *context)
{
	register void *r8 __asm__("r8") = stack_top;
	register clone_rest *r9 __asm__("r9") = rest;
	register void *r10 __asm__("r10") = context;
	long ret;

	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jle 1f\n\t"
			 "mov %%r8, %%rsp\n\t"
			 "mov %%rax, %%rdi\n\t"
			 "mov %%r10, %%rsi\n\t"
			 "call *%%r9\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(ret)
			 : "a"(SYS_clone3), "D"(args), "S"(sizeof(*args)), "r"(r8), "r"(r9),
			   "r"(r10)
			 : "rcx", "r11", "cc", "memory");
	return ret;
}
#elif defined(__aarch64__)
static long clone3_in_place(const struct clone_args *args, void *stack_top, clone_rest *rest,
			    void *context)
{
	register long x8 __asm__("x8") = SYS_clone3;
	register long x0 __asm__("x0") = (long)args;
	register long x1 __asm__("x1") = sizeof(*args);
	register void *x9 __asm__("x9") = stack_top;
	register clone_rest *x10 __asm__("x10") = rest;
	register void *x11 __asm__("x11") = context;

	__asm__ volatile("svc 0\n\t"
			 "cmp x0, #0\n\t"
			 "b.le 1f\n\t"
			 "mov sp, x9\n\t"
			 "mov x1, x11\n\t"
			 "blr x10\n\t"
			 "brk #0\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x9), "r"(x10), "r"(x11)
			 : "cc", "memory");
	return x0;
}
#else
static long clone3_in_place(const struct clone_args *args, void *stack_top, clone_rest *rest,
			    void *context)
{
	(void)args, (void)stack_top, (void)rest, (void)context;
	return -ENOSYS;
}
#endif

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

/* Returns whether a filter refuses clone3(2). Without arguments, the kernel's own error is
 * another. */
static bool is_filtered(void)
{
	return SYS2(SYS_clone3, 0, 0) == -EPERM;
}

/* Move the calling process into the cgroup, so that its child is born there: a child that is moved
 * later may have children of its own by then. The calling process is a stage, which ends soon. */
static long enter_cgroup(int cgroup_fd)
{
	OWNED_FD fd = sys_open_at(cgroup_fd, "cgroup.procs", O_WRONLY);
	const long ret = fd < 0 ? fd : sys_write(fd, "0", 1);

	return ret < 0 ? ret : 0;
}

long process_clone(const struct clone_request *request)
{
	long ret = clone3(request);

	if (ret == -EPERM && is_filtered())
		ret = -ENOSYS;
	/* In the older call, the bit of CLONE_NEWTIME is part of the exit signal. */
	if (ret != -ENOSYS || (request->flags & CLONE_NEWTIME))
		return ret;
	ret = request->cgroup_fd >= 0 ? enter_cgroup(request->cgroup_fd) : 0;
	return ret < 0 ? ret : clone2(request);
}

long process_clone_in_place(const struct clone_request *request, void *stack_top, clone_rest *rest,
			    void *context)
{
	struct clone_args args = arguments(request);
	long ret;

	args.flags |= CLONE_VM;
	ret = clone3_in_place(&args, stack_top, rest, context);
	return ret == -EPERM && is_filtered() ? -ENOSYS : ret;
}
