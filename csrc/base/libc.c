/* SPDX-License-Identifier: Apache-2.0 */
#include "base/libc.h"

#include <dlfcn.h>
#include <nss.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/rseq.h"

int *libc_thread_id(void)
{
	int *place = NULL;

	if (prctl(PR_GET_TID_ADDRESS, (unsigned long)&place, 0, 0, 0) < 0)
		return NULL;
	return place;
}

/*
 * The root that the process enters may belong to an enemy, so no code may be loaded from it. libc
 * loads two kinds of libraries when it first needs them: the unwinder, when a thread is cancelled,
 * and the name services, which the nsswitch.conf of the root would choose. The unwinder is loaded
 * here. The name services are limited to those that read files of the root: they are data, and may
 * be read.
 */
void libc_settle(void)
{
	static const char *const databases[] = {
		"aliases",  "ethers",	"group",  "gshadow",   "initgroups",
		"netgroup", "networks", "passwd", "protocols", "publickey",
		"rpc",	    "services", "shadow",
	};

	for (size_t i = 0; i < sizeof(databases) / sizeof(databases[0]); i++)
		__nss_configure_lookup(databases[i], "files");
	__nss_configure_lookup("hosts", "files dns");
	/* Before 2.34 these were not in libc itself. */
	if (!__GLIBC_PREREQ(2, 34)) {
		dlopen("libnss_files.so.2", RTLD_NOW | RTLD_NODELETE);
		dlopen("libnss_dns.so.2", RTLD_NOW | RTLD_NODELETE);
	}
	dlopen("libgcc_s.so.1", RTLD_NOW | RTLD_NODELETE);
	/* libc reads the file of the time zone once, as long as TZ does not change. */
	tzset();
}

/* What libc has registered with the kernel for the thread. */
static struct {
	void *robust_list;
	size_t robust_size;
	int *thread_id;
	uint8_t *rseq; /* NULL: libc has registered none */
} thread;

uint8_t *libc_rseq_area(unsigned *size)
{
	const ptrdiff_t *offset = dlsym(RTLD_DEFAULT, "__rseq_offset");
	const unsigned *known_size = dlsym(RTLD_DEFAULT, "__rseq_size");

	*size = offset && known_size ? *known_size : 0;
	return *size ? (uint8_t *)__builtin_thread_pointer() + *offset : NULL;
}

unsigned libc_count_threads(void)
{
	struct stat st;

	/* "." and ".." are links, too. */
	return stat("/proc/self/task", &st) == 0 && st.st_nlink > 2 ? (unsigned)st.st_nlink - 2 : 0;
}

bool libc_leave_thread(void)
{
	unsigned rseq_size;

	thread.thread_id = libc_thread_id();
	thread.rseq = libc_rseq_area(&rseq_size);
	if (!thread.thread_id ||
	    syscall(SYS_get_robust_list, 0, &thread.robust_list, &thread.robust_size) < 0)
		return false;
	if (thread.rseq &&
	    syscall(SYS_rseq, thread.rseq, RSEQ_BYTES, RSEQ_UNREGISTER, RSEQ_SIGNATURE) < 0)
		return false;
	syscall(SYS_set_robust_list, NULL, thread.robust_size);
	syscall(SYS_set_tid_address, NULL);
	return true;
}

void libc_join_thread(void)
{
	*thread.thread_id = (int)syscall(SYS_set_tid_address, thread.thread_id);
	syscall(SYS_set_robust_list, thread.robust_list, thread.robust_size);
	if (!thread.rseq)
		return;
	*(volatile int32_t *)(thread.rseq + RSEQ_CPU_ID) = RSEQ_UNREGISTERED;
	if (syscall(SYS_rseq, thread.rseq, RSEQ_BYTES, 0, RSEQ_SIGNATURE) < 0)
		*(volatile int32_t *)(thread.rseq + RSEQ_CPU_ID) = RSEQ_FAILED;
}
