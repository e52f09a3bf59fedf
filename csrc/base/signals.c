/* SPDX-License-Identifier: Apache-2.0 */
#include "base/signals.h"

#include "base/sys.h"

uint64_t signals_block(uint64_t set)
{
	uint64_t before = 0;

	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &set, &before, sizeof(set));
	return before;
}

void signals_reset(uint64_t except)
{
	const struct sys_sigaction by_default = { .handler = SIG_DFL };

	for (int sig = 1; sig <= SIGNAL_MAX; sig++)
		if (!(except & ONLY_SIGNAL(sig)))
			sys_sigaction(sig, &by_default, NULL); /* SIGKILL: refused, harmless */
}
