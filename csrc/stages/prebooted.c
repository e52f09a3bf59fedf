/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/prebooted.h"

#include "base/clone.h"
#include "base/libc.h"
#include "base/signals.h"
#include "stages/payload.h"

/* Give the process the signals of a program that is spawned (products/spawn.c). The interpreter
 * goes on, and turns the two that it ignores into exceptions. */
static void reset_signals(void)
{
	signals_reset(ONLY_SIGNAL(SIGPIPE) | ONLY_SIGNAL(SIGXFSZ));
	signals_block(NO_SIGNALS);
}

/* The stack of stage 0 after stage 2 has taken over the memory and the stack of this process. */
static uint8_t stage_0_stack[1 << 16] __attribute__((aligned(16)));

static const struct take_over take_over = {
	.stack_top = stage_0_stack + sizeof(stage_0_stack),
	.leave = libc_leave_thread,
	.arrive = libc_join_thread,
};

/* This process as a stage. An interpreter runs between its steps. */
static struct nsexec ns;

#define PAGE_BYTES 4096 /* the smallest page size of Linux */

/* The kernel reads the memory: pages behind the end of a mapped file, which would raise SIGBUS,
 * become zeros in the copy. */
static void copy_pages(int mem_fd, uint8_t *to, unsigned long from, size_t size)
{
	for (size_t at = 0; at < size;) {
		long n = SYS4(SYS_pread64, mem_fd, to + at, size - at, from + at);

		at += n > 0 ? (size_t)n : PAGE_BYTES;
	}
}

int prebooted_own_memory(int mem_fd, unsigned long start, unsigned long size, int protection)
{
	long copy = sys_map_memory(size);
	long ret;

	if (sys_is_error(copy))
		return (int)copy;
	copy_pages(mem_fd, (uint8_t *)copy, start, size);
	ret = SYS3(SYS_mprotect, copy, size, protection);
	if (ret == 0)
		ret = SYS5(SYS_mremap, copy, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, start);
	if (ret >= 0)
		return 0;
	SYS2(SYS_munmap, copy, size);
	return (int)ret;
}

void prebooted_reset(void)
{
	reset_signals();
	libc_settle();
}

void prebooted_stages(int init_fd, int status_fd)
{
	/* products/early_init.c has set it. From now on, this process reads the channel, whose end
	 * says that the launcher is gone. */
	sys_prctl(PR_SET_PDEATHSIG, 0);
	ns = (struct nsexec){
		.init_fd = init_fd,
		.place = -1,
		.launched = true,
		.report = { .log_fd = -1, .status_fd = status_fd, .stage = "parent" },
	};
	ns.thread_id = libc_thread_id();
	ns.take_over = &take_over;
	nsexec(&ns);
	payload_arrive(&ns);
	report_trace(&ns.report, "late");
	nsexec_restore_signals(&ns);
}

void prebooted_confine(void)
{
	payload_confine(&ns);
}

void prebooted_filter(void)
{
	payload_filter(&ns);
}

long prebooted_sibling(int *pidfd)
{
	const struct clone_request request = {
		.flags = CLONE_PARENT,
		.cgroup_fd = -1,
		.pidfd = pidfd,
		.thread_id = libc_thread_id(),
	};

	return process_clone(&request);
}
