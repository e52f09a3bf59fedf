/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that every launch of the benchmark executes: it exits with 0 and does nothing
 * else. Static and without libc, whose start-up takes longer than the namespaces.
 */
#include <sys/syscall.h>

_Noreturn void _start(void)
{
	for (;;) {
#if defined(__x86_64__)
		__asm__ volatile("syscall"
				 :
				 : "a"(SYS_exit_group), "D"(0)
				 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
		register long x8 __asm__("x8") = SYS_exit_group;
		register long x0 __asm__("x0") = 0;

		__asm__ volatile("svc 0" : : "r"(x8), "r"(x0) : "memory");
#else
#error "noop.c does not know this architecture's system call instruction"
#endif
	}
}
