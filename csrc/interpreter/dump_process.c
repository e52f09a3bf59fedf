/* SPDX-License-Identifier: Apache-2.0 */
#include "interpreter/dump_process.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/libc.h"
#include "interpreter/refusal.h"

#define ARCH_GET_FS 0x1003

void dump_check_threads(void)
{
	if (libc_count_threads() != 1)
		refuse_image("it has more than one thread", "");
}

void dump_check_descriptors(int out_fd)
{
	DIR *list = opendir("/proc/self/fd");
	const struct dirent *entry;

	if (!list)
		refuse_image("its descriptors cannot be listed", "");
	while ((entry = readdir(list))) {
		const int fd = atoi(entry->d_name); /* 0 for "." and ".." */

		if (fd > STDERR_FILENO && fd != out_fd && fd != dirfd(list))
			refuse_image("it has a descriptor open", entry->d_name);
	}
	closedir(list);
}

void dump_describe_thread(struct image_header *header)
{
	unsigned rseq_size;
	const uint8_t *rseq = libc_rseq_area(&rseq_size);

#if defined(__x86_64__)
	SYS2(SYS_arch_prctl, ARCH_GET_FS, &header->fs_base);
#else
	refuse_image("this is not known on this architecture", "");
#endif
	header->tid_address = (uintptr_t)libc_thread_id();
	SYS3(SYS_get_robust_list, 0, &header->robust_list, &header->robust_size);
	if (!rseq)
		return;
	if (rseq_size > IMAGE_RSEQ_SIZE)
		refuse_image("the thread's rseq area is larger than is known", "");
	header->rseq = (uintptr_t)rseq;
	header->rseq_size = IMAGE_RSEQ_SIZE;
}

void dump_describe_signals(struct dump_tables *t)
{
	for (int number = 1; number <= SIGNAL_MAX; number++) {
		struct image_signal *signal = &t->signals[t->header.signals.count];

		signal->number = (uint64_t)number;
		if (sys_sigaction(number, NULL, &signal->action) == 0 &&
		    signal->action.handler != SIG_DFL)
			t->header.signals.count++;
	}
}
