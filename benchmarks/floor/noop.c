/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that every launch of the benchmark executes: it exits with 0 and does nothing
 * else; compiled with -DSTAY, it waits for ever. Static and without libc, whose start-up takes
 * longer than the namespaces.
 */
#include <sys/syscall.h>

static long sys(long number, long a, long b)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = 0;
	long result = number;

	__asm__ volatile("syscall"
			 : "+a"(result)
			 : "D"(a), "S"(b), "d"(0), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#else
#error "noop.c does not know this architecture's system call instruction"
#endif
}

_Noreturn void _start(void)
{
#ifdef STAY
	for (;;)
		sys(SYS_ppoll, 0, 0); /* nothing to wait for, and no end of it */
#endif
	for (;;)
		sys(SYS_exit_group, 0, 0);
}
