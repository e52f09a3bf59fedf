/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/seccomp.h"

#include "base/fallback.h"

int seccomp_install(const struct launch *launch, struct err *err)
{
	const struct sock_fprog program = {
		.len = (unsigned short)(launch->seccomp.len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)launch->seccomp.data,
	};
	long ret;

	if (!launch->seccomp.data)
		return 0;
	ret = fallback_set_filter(&program, launch->seccomp_flags);
	return ret < 0 ? err_set(err, "seccomp", "the filter", ret) : 0;
}
