/* SPDX-License-Identifier: Apache-2.0 */
#include "libc.h"

#include <dlfcn.h>
#include <nss.h>
#include <sys/prctl.h>
#include <time.h>

int *libc_thread_id(void)
{
	int *place = NULL;

	if (prctl(PR_GET_TID_ADDRESS, (unsigned long)&place, 0, 0, 0) < 0)
		return NULL;
	return place;
}

/*
 * What libc would look for by name later, and run, it gets now from the host or does without: the
 * unwinder, which it loads when a thread is cut off, and the name services, which the root's
 * nsswitch.conf would choose. Files there are data, and may be read.
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
	/* The zone's file, too: later the same TZ is known already. */
	tzset();
}
