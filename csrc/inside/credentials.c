/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/credentials.h"

#include <linux/capability.h>

#include "base/sys.h"
#include "message/launch_lists.h"

/* The three sets of capset(2), as masks. */
struct sets {
	uint64_t effective, permitted, inheritable;
};

static uint64_t mask_of(struct span list)
{
	struct capability capability;
	uint64_t mask = 0;

	while (records_next_capability(&list, &capability))
		mask |= 1ULL << capability.number;
	return mask;
}

static long get_sets(struct sets *sets)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { 0 };
	long ret = SYS2(SYS_capget, &header, data);

	sets->effective = (uint64_t)data[1].effective << 32 | data[0].effective;
	sets->permitted = (uint64_t)data[1].permitted << 32 | data[0].permitted;
	sets->inheritable = (uint64_t)data[1].inheritable << 32 | data[0].inheritable;
	return ret;
}

static long put_sets(const struct sets *sets)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){
			.effective = (uint32_t)(sets->effective >> 32 * i),
			.permitted = (uint32_t)(sets->permitted >> 32 * i),
			.inheritable = (uint32_t)(sets->inheritable >> 32 * i),
		};
	return SYS2(SYS_capset, &header, data);
}

int credentials_keep_only(uint64_t mask, struct err *err)
{
	struct sets sets = { 0 };
	long ret = get_sets(&sets);

	sets.effective &= mask;
	sets.permitted &= mask;
	sets.inheritable = 0;
	if (ret == 0)
		ret = put_sets(&sets);
	return ret < 0 ? err_set(err, "capset", "", ret) : 0;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	for (int i = 0; i < CAPABILITIES; i++) {
		long ret;

		if (keep >> i & 1)
			continue;
		ret = sys_prctl(PR_CAPBSET_READ, (unsigned long)i);
		if (ret == -EINVAL) /* the kernel has none from here on */
			break;
		if (ret > 0)
			ret = sys_prctl(PR_CAPBSET_DROP, (unsigned long)i);
		if (ret < 0)
			return err_set(err, "prctl PR_CAPBSET_DROP", "the bounding set", ret);
	}
	return 0;
}

int credentials_hold(const struct launch *launch, struct err *err)
{
	if (!launch->keep_caps.data)
		return 0;
	if (drop_bounding(mask_of(launch->bounding), err) < 0)
		return -1;
	return credentials_keep_only(mask_of(launch->keep_caps), err);
}

/* Returns what an error is about, "CAP_SYS_TIME": the first capability on the list that this
 * process does not have itself. */
static struct span missing(struct span list)
{
	struct capability capability;
	struct sets own = { 0 };

	get_sets(&own);
	while (records_next_capability(&list, &capability))
		if (!(own.permitted >> capability.number & 1))
			return capability.name;
	return (struct span){ "", 0 };
}

static int raise_ambient(uint64_t mask, struct err *err)
{
	for (int i = 0; i < CAPABILITIES; i++) {
		long ret = 0;

		if (mask >> i & 1)
			ret = SYS5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
		if (ret < 0)
			return err_set(err, "prctl PR_CAP_AMBIENT_RAISE", "", ret);
	}
	return 0;
}

/*
 * An execve(2) gives uid 0 its whole bounding set. Any other user keeps what is ambient, and what
 * is ambient must be inheritable. Nothing else may be inheritable (CVE-2022-29162): a program with
 * file capabilities in the payload's root would gain it.
 */
static int set_capabilities(struct span list, struct err *err)
{
	uint64_t mask = mask_of(list);
	uint64_t ambient = SYS0(SYS_geteuid) == 0 ? 0 : mask;
	const struct sets sets = { mask, mask, ambient };
	long ret = put_sets(&sets);

	if (ret < 0)
		return err_set_span(err, "capset", missing(list), ret);
	SYS5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return raise_ambient(ambient, err);
}

static int fail_id(const char *operation, int64_t id, long ret, struct err *err)
{
	char buf[32];
	struct text t = TEXT_IN(buf);

	text_add_number(&t, id);
	return err_set(err, operation, text_end(&t), ret);
}

/*
 * Returns whether it does no harm that the supplementary groups cannot be dropped: they are then
 * the caller's own, so that the payload gains nothing by them. That is so in two cases. In a user
 * namespace that an ordinary user has made, setgroups(2) is denied for good (user_namespaces(7)),
 * although the process has CAP_SETGID. And a process that has neither CAP_SETGID nor CAP_SETUID can
 * only start a payload that is the same user.
 */
static bool keeps_own_groups(void)
{
	struct sets sets = { 0 };

	get_sets(&sets);
	return sets.effective >> CAP_SETGID & 1 || !(sets.effective >> CAP_SETUID & 1);
}

static int set_ids(const struct launch *launch, struct err *err)
{
	size_t count = launch->groups.len / sizeof(uint32_t);
	long ret;

	ret = launch->groups.data ? SYS2(SYS_setgroups, count, launch->groups.data) : 0;
	if (ret < 0 && !(ret == -EPERM && count == 0 && keeps_own_groups()))
		return err_set(err, "setgroups", "the supplementary groups", ret);
	ret = launch->gid < 0 ? 0 : SYS3(SYS_setresgid, launch->gid, launch->gid, launch->gid);
	if (ret < 0)
		return fail_id("setresgid", launch->gid, ret, err);
	ret = launch->uid < 0 ? 0 : SYS3(SYS_setresuid, launch->uid, launch->uid, launch->uid);
	return ret < 0 ? fail_id("setresuid", launch->uid, ret, err) : 0;
}

int credentials_take_on(const struct launch *launch, struct err *err)
{
	bool chooses = launch->capabilities.data;

	if (chooses && (drop_bounding(mask_of(launch->capabilities), err) < 0))
		return -1;
	if (chooses)
		sys_prctl(PR_SET_KEEPCAPS, 1);
	if (set_ids(launch, err) < 0)
		return -1;
	if (chooses)
		sys_prctl(PR_SET_KEEPCAPS, 0);
	return chooses ? set_capabilities(launch->capabilities, err) : 0;
}
