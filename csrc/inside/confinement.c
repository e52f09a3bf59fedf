/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/confinement.h"

#include <limits.h>
#include <sys/mount.h>

#include "base/fallback.h"
#include "base/sys.h"
#include "message/launch_lists.h"
#include "inside/credentials.h"
#include "inside/landlock.h"
#include "inside/limits.h"
#include "inside/network.h"
#include "inside/root.h"
#include "inside/session.h"

static int set_hostname(struct span name, struct err *err)
{
	long ret;

	if (!name.data)
		return 0;
	ret = SYS2(SYS_sethostname, name.data, name.len);
	return ret < 0 ? err_set_span(err, "sethostname", name, ret) : 0;
}

/* Mount a /proc of the new PID namespace over the one that is there, in this mount namespace
 * alone. */
static int mount_proc(struct span options, struct err *err)
{
	long ret;

	if (root_make_private(err) < 0)
		return -1;
	ret = SYS5(SYS_mount, "proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
		   options.data);
	return ret < 0 ? err_set(err, "mount", "proc on /proc", ret) : 0;
}

/* A path such as /proc/self/fd/7 can lead to a directory outside the root, from where the payload
 * would reach the host (CVE-2024-21626). getcwd(2) then fails with ENOENT, or its result begins
 * with "(unreachable)". */
static int change_directory(struct span path, struct err *err)
{
	char buf[PATH_MAX];
	struct text t = TEXT_IN(buf);
	long ret;

	if (!path.data)
		return 0;
	text_add_span(&t, path);
	ret = t.cut ? -ENAMETOOLONG : SYS1(SYS_chdir, text_end(&t));
	if (ret < 0)
		return err_set_span(err, "chdir", path, ret);
	ret = SYS2(SYS_getcwd, buf, sizeof(buf));
	if (ret < 0 || buf[0] != '/')
		return err_set_span(err, "getcwd: outside the root:", path,
				    ret < 0 ? ret : -ENOENT);
	return 0;
}

bool confinement_mounts_proc(const struct launch *launch)
{
	struct span list = launch->mounts;
	struct mount_record record;

	while (records_next_mount(&list, &record))
		if (record.kind == MOUNT_PROC)
			return true;
	return launch->mount_proc;
}

int confinement_prepare(const struct launch *launch, struct err *err)
{
	if (launch->loopback && network_loopback_up(err) < 0)
		return -1;
	if (root_enter(launch, err) < 0)
		return -1;
	if (set_hostname(launch->hostname, err) < 0)
		return -1;
	if (launch->mount_proc && mount_proc(launch->proc_options, err) < 0)
		return -1;
	return change_directory(launch->cwd, err);
}

/* Returns whether the payload itself must die with the caller. If a PID 1 stays, that does, and the
 * kernel then ends everything in its namespace. */
static bool dies_by_itself(const struct launch *launch)
{
	return launch->die_with_parent && launch->init_fd < 0;
}

bool confinement_is_asked(const struct launch *launch)
{
	return launch_has(launch, LAUNCH_CONFINE) || launch_has(launch, LAUNCH_FILTER) ||
	       dies_by_itself(launch);
}

/*
 * The order must not change:
 *
 * - Landlock's paths are opened before the ids change, because the payload's ids may not be able to
 *   reach them. Its rules come into force last, because they hold for every later open.
 * - Limits are set before the capability to raise them is given up.
 * - no_new_privs comes after the ids and capabilities, and before Landlock, which requires it from
 *   a process without CAP_SYS_ADMIN.
 * - The kernel forgets the signal at the parent's death when the ids change, so it is set after
 *   them.
 */
int confinement_begin(const struct launch *launch, struct err *err)
{
	int ruleset;
	long ret;

	if (session_begin(launch, err) < 0 ||
	    landlock_prepare(launch->landlock, &ruleset, err) < 0 ||
	    limits_apply(launch, err) < 0 || credentials_take_on(launch, err) < 0)
		return -1;
	if (launch->no_new_privs && (ret = sys_prctl(PR_SET_NO_NEW_PRIVS, 1)) < 0)
		return err_set(err, "prctl", "PR_SET_NO_NEW_PRIVS", ret);
	if (dies_by_itself(launch))
		sys_prctl(PR_SET_PDEATHSIG, SIGKILL);
	return landlock_restrict(ruleset, err);
}

/* Find the lowest descriptor that is kept, from `least` on; returns false if there is none. */
static bool next_kept(struct span keep, const int *others, size_t count, unsigned least,
		      unsigned *next)
{
	bool found = false;
	unsigned fd;

	while (launch_next_fd(&keep, &fd)) {
		if (fd < least)
			continue;
		*next = fd;
		found = true;
		break;
	}
	for (size_t i = 0; i < count; i++) {
		if (others[i] < 0 || (unsigned)others[i] < least)
			continue;
		if (!found || (unsigned)others[i] < *next)
			*next = (unsigned)others[i];
		found = true;
	}
	return found;
}

static long close_others(struct span keep, const int *others, size_t count, unsigned flags)
{
	unsigned next = 0;
	unsigned fd = 0;
	long ret = 0;

	while (ret == 0 && next_kept(keep, others, count, next, &fd)) {
		if (fd > next)
			ret = fallback_close_range(next, fd - 1, flags);
		next = fd + 1;
	}
	return ret < 0 ? ret : fallback_close_range(next, ~0U, flags);
}

static int fail_to_keep(struct span keep, long ret, struct err *err)
{
	return err_set_span(err, "keep the descriptors", keep, ret);
}

int confinement_close_others(struct span keep, const int *others, size_t count, struct err *err)
{
	long ret = close_others(keep, others, count, CLOSE_NOW);

	return ret < 0 ? fail_to_keep(keep, ret, err) : 0;
}

int confinement_keep_fds(struct span keep, unsigned flags, struct err *err)
{
	long ret = close_others(keep, NULL, 0, flags);
	struct span rest = keep;
	unsigned fd;

	while (ret == 0 && launch_next_fd(&rest, &fd))
		ret = SYS3(SYS_fcntl, fd, F_SETFD, 0);
	return ret < 0 ? fail_to_keep(keep, ret, err) : 0;
}
