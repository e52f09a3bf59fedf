/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/payload.h"

#include "base/fallback.h"
#include "inside/confinement.h"
#include "inside/seccomp.h"
#include "stages/pid1.h"

void payload_arrive(struct nsexec *ns)
{
	struct err err;

	if (nsexec_cut(ns, &err) < 0 || nsexec_arrive(ns, &err) < 0 ||
	    confinement_keep_fds(ns->launch.keep_fds, CLOSE_NOW, &err) < 0 ||
	    pid1_split(ns, &err) < 0)
		nsexec_fail(ns, &err);
}

void payload_confine(const struct nsexec *ns)
{
	struct err err;

	if (confinement_begin(&ns->launch, &err) < 0)
		nsexec_fail(ns, &err);
}

void payload_filter(const struct nsexec *ns)
{
	struct err err;

	if (seccomp_install(&ns->launch, &err) < 0)
		nsexec_fail(ns, &err);
}
