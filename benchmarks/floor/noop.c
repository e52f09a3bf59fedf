/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that every launch of the benchmark executes: it exits with 0 and does nothing
 * else; compiled with -DSTAY, it waits for ever. Static and without libc, whose start-up takes
 * longer than the namespaces.
 */
#include <sys/syscall.h>

/* A system call whose arguments are all zero. */
static void call(long number)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = 0;

	__asm__ volatile("syscall"
			 : "+a"(number)
			 : "D"(0), "S"(0), "d"(0), "r"(r10)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = 0;
	register long x1 __asm__("x1") = 0;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
#else
#error "noop.c does not know this architecture's system call instruction"
#endif
}

_Noreturn void _start(void)
{
	for (;;) {
#ifdef STAY
		call(SYS_ppoll); /* nothing to wait for, and no end of it */
#else
		call(SYS_exit_group);
#endif
	}
}
