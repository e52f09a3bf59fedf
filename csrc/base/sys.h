/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls without libc.
 *
 * Most of this code must not use libc. Some of it runs in a child that shares the memory of a
 * parent with threads: errno and the locks of libc belong to the parent. Some of it is in static
 * programs that must not pay for the start of libc, which takes half of a launch on a virtual
 * machine, in CPUID instructions that are trapped. So each function here returns a result or
 * -errno, and changes nothing else. libc's syscall(2) is used only on an architecture whose system
 * call instruction is not known here.
 */
#ifndef NSX_SYS_H
#define NSX_SYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>

#if defined(__x86_64__)
#define NSX_RAW_SYSCALLS 1
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
#define NSX_RAW_SYSCALLS 1
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}
#else
#define NSX_RAW_SYSCALLS 0
#include <unistd.h>
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}
#endif

#define SYS6(nr, a, b, c, d, e, f)                                                                 \
	sys_call(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS5(nr, a, b, c, d, e) SYS6(nr, a, b, c, d, e, 0)
#define SYS4(nr, a, b, c, d)	SYS6(nr, a, b, c, d, 0, 0)
#define SYS3(nr, a, b, c)	SYS6(nr, a, b, c, 0, 0, 0)
#define SYS2(nr, a, b)		SYS6(nr, a, b, 0, 0, 0, 0)
#define SYS1(nr, a)		SYS6(nr, a, 0, 0, 0, 0, 0)
#define SYS0(nr)		SYS6(nr, 0, 0, 0, 0, 0, 0)

/* Numbers that the headers of Debian 11 do not have; they are the same on every architecture. */
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

#ifndef SYS_open_tree
#define SYS_open_tree  428
#define SYS_move_mount 429
#define SYS_fsopen     430
#define SYS_fsconfig   431
#define SYS_fsmount    432
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule	    445
#define SYS_landlock_restrict_self  446
#endif

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

/* The kernel's struct sigaction (libc's has another layout). Every 64-bit architecture but RISC-V
 * and LoongArch has the restorer. */
struct sys_sigaction {
	void (*handler)(int);
	unsigned long flags;
#if !defined(__riscv) && !defined(__loongarch__)
	void (*restorer)(void);
#endif
	uint64_t mask;
};

/* Whether the result of a call that returns an address, such as mmap(2), is -errno. */
static inline bool sys_is_error(long ret)
{
	return ret < 0 && ret > -4096;
}

/* Memory of its own for this process, all zeroes. The address, or -errno. */
static inline long sys_map_memory(size_t size)
{
	return SYS6(SYS_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* As fork(2), but libc knows nothing of it: its locks stay as they are, and no handler is
 * called. */
static inline long sys_fork(void)
{
	return SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static inline long sys_close(int fd)
{
	return SYS1(SYS_close, fd);
}

static inline long sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return SYS3(SYS_close_range, first, last, flags);
}

static inline int sys_open(const char *path, int flags)
{
	return (int)SYS4(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0);
}

/* The same for a path below the directory `folder`. */
static inline int sys_open_at(int folder, const char *path, int flags)
{
	return (int)SYS4(SYS_openat, folder, path, flags | O_CLOEXEC, 0);
}

/* A flag of pipe2(2); the other is O_CLOEXEC. */
#define NOT_CLOSE_ON_EXEC 0

/* Make a pipe whose ends are close-on-exec. Without one, the ends stay as they are. */
static inline long sys_pipe(int *read_end, int *write_end)
{
	int ends[2];
	long ret = SYS2(SYS_pipe2, ends, O_CLOEXEC);

	if (ret == 0) {
		*read_end = ends[0];
		*write_end = ends[1];
	}
	return ret;
}

/* read(2) and write(2), which a signal does not interrupt. */
static inline long sys_read(int fd, void *buf, size_t len)
{
	long n;

	do
		n = SYS3(SYS_read, fd, buf, len);
	while (n == -EINTR);
	return n;
}

static inline long sys_write(int fd, const void *buf, size_t len)
{
	long n;

	do
		n = SYS3(SYS_write, fd, buf, len);
	while (n == -EINTR);
	return n;
}

/* The first descriptor that is not a standard stream. */
#define FIRST_AFTER_STREAMS 3

/* Let the next program have a descriptor: it is no longer close-on-exec. */
static inline long sys_inherit(int fd)
{
	return SYS3(SYS_fcntl, fd, F_SETFD, 0);
}

/* Let the next program have a descriptor under the number `to`. */
static inline long sys_put_inherited(int from, int to)
{
	return from == to ? sys_inherit(to) : SYS3(SYS_dup3, from, to, 0);
}

/* The exit status of a process that could not execute its program, as a shell has it. */
#define NOT_EXECUTED 127

static inline long sys_sigaction(int sig, const struct sys_sigaction *act,
				 struct sys_sigaction *old)
{
	return SYS4(SYS_rt_sigaction, sig, act, old, sizeof(uint64_t));
}

static inline bool sys_is_ignored(int sig)
{
	struct sys_sigaction now = { .handler = SIG_DFL };

	return sys_sigaction(sig, NULL, &now) == 0 && now.handler == SIG_IGN;
}

static inline bool sys_exists(const char *path)
{
	return SYS4(SYS_faccessat, AT_FDCWD, path, 0, 0) == 0;
}

static inline long sys_prctl(int option, unsigned long arg)
{
	return SYS5(SYS_prctl, option, arg, 0, 0, 0);
}

/* For PR_SET_DUMPABLE and PR_GET_DUMPABLE. */
enum dumpable { NOT_DUMPABLE, DUMPABLE };

static inline long sys_getpid(void)
{
	return SYS0(SYS_getpid);
}

static inline _Noreturn void sys_exit(int status)
{
	for (;;)
		SYS1(SYS_exit_group, status);
}

/* Nanoseconds of a clock. */
static inline int64_t sys_clock_ns(clockid_t clock)
{
	struct timespec ts = { 0 };

	SYS2(SYS_clock_gettime, clock, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

#endif
