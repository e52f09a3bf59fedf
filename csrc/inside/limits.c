/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/limits.h"

#include "base/sys.h"
#include "message/launch_lists.h"

/* struct rlimit64, which has 64 bits on every architecture. */
struct sys_rlimit {
	uint64_t soft, hard;
};

int limits_set(struct span list, struct err *err)
{
	struct limit limit;

	while (records_next_limit(&list, &limit)) {
		const struct sys_rlimit both = { limit.soft, limit.hard };
		long ret = SYS4(SYS_prlimit64, 0, limit.resource, &both, 0);

		if (ret < 0)
			return err_set_span(err, "prlimit", limit.name, ret);
	}
	return 0;
}

int limits_apply(const struct launch *launch, struct err *err)
{
	long ret;

	if (limits_set(launch->rlimits, err) < 0)
		return -1;
	if (launch->cpus.data) {
		ret = SYS3(SYS_sched_setaffinity, 0, launch->cpus.len, launch->cpus.data);
		if (ret < 0)
			return err_set(err, "sched_setaffinity", "the processors", ret);
	}
	if (launch->umask >= 0)
		SYS1(SYS_umask, launch->umask);
	return 0;
}
