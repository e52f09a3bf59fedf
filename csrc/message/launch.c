/* SPDX-License-Identifier: Apache-2.0 */
#include "message/launch.h"

#include <limits.h>

#include "message/launch_lists.h"

static const struct wire_spec specs[LAUNCH_ATTR_COUNT] = {
	{ "HOSTNAME", WIRE_TEXT },     { "MOUNT_PROC", WIRE_BOOL },
	{ "CWD", WIRE_TEXT },	       { "KEEP_FDS", WIRE_TEXT },
	{ "CGROUP_FD", WIRE_U32 },     { "TIMEOUT", WIRE_U32 },
	{ "TRACE", WIRE_BOOL },	       { "LOOPBACK", WIRE_BOOL },
	{ "ROOT", WIRE_TEXT },	       { "READ_ONLY", WIRE_BOOL },
	{ "MOUNTS", WIRE_BYTES },      { "KEEP_SESSION", WIRE_BOOL },
	{ "TERMINAL", WIRE_BOOL },     { "INIT_FD", WIRE_U32 },
	{ "RLIMITS", WIRE_TEXT },      { "UMASK", WIRE_U32 },
	{ "CPUS", WIRE_BYTES },	       { "UID", WIRE_U32 },
	{ "GID", WIRE_U32 },	       { "GROUPS", WIRE_BYTES },
	{ "CAPABILITIES", WIRE_TEXT }, { "NO_NEW_PRIVS", WIRE_BOOL },
	{ "LANDLOCK", WIRE_BYTES },    { "SECCOMP", WIRE_BYTES },
	{ "SECCOMP_FLAGS", WIRE_U32 }, { "DIE_WITH_PARENT", WIRE_BOOL },
	{ "PROCESS_GROUP", WIRE_U32 }, { "HELD", WIRE_TEXT },
	{ "BOUNDING", WIRE_TEXT },     { "DOORS", WIRE_TEXT },
	{ "GATE_FD", WIRE_U32 },       { "REAPER_FD", WIRE_U32 },
};

const struct wire_message launch_message = {
	.type = 62100,
	.first_attr = LAUNCH_HOSTNAME_ATTR,
	.attr_count = LAUNCH_ATTR_COUNT,
	.attrs = specs,
};

static const struct wire_attr *pick(const struct wire_attr *attrs, int type)
{
	return &attrs[type - LAUNCH_HOSTNAME_ATTR];
}

bool launch_next_fd(struct span *list, unsigned *fd)
{
	struct span word;
	uint64_t n;

	if (!span_next(list, ',', &word) || !parse_decimal(word, INT_MAX, &n))
		return false;
	*fd = (unsigned)n;
	return true;
}

static int number_or(const struct wire_attr *attr, int otherwise)
{
	if (!attr->present)
		return otherwise;
	return attr->number > INT_MAX ? INT_MAX : (int)attr->number;
}

static bool refuse(struct wire_error *err, const struct wire_attr *attr, size_t at,
		   const char *reason)
{
	*err = (struct wire_error){ attr->type, attr->offset + WIRE_ATTR_HEADER + (uint32_t)at,
				    reason };
	return false;
}

/* "0,1,2,9": numbers that rise. */
static bool check_fds(const struct wire_attr *attr, struct wire_error *err)
{
	struct span rest = attr->text;
	unsigned least = 0;
	unsigned fd;

	while (rest.len) {
		size_t at = (size_t)(rest.data - attr->text.data);

		if (!launch_next_fd(&rest, &fd) || fd < least)
			return refuse(err, attr, at, "not a list of numbers that rise");
		least = fd + 1;
	}
	return true;
}

static bool check_root(const struct wire_attr *attr, struct wire_error *err)
{
	struct span rest = attr->text;
	struct span type;

	if (attr->present && (rest.len == 0 || rest.data[0] != '/') &&
	    !(span_next(&rest, ',', &type) && span_equals(type, "tmpfs")))
		return refuse(err, attr, 0, "neither an absolute path nor \"tmpfs\"");
	return true;
}

/* An array of things of `unit` bytes each. */
static bool check_array(const struct wire_attr *attr, size_t unit, size_t least, size_t most,
			struct wire_error *err)
{
	size_t count = attr->text.len / unit;

	if (attr->present && (attr->text.len % unit || count < least || count > most))
		return refuse(err, attr, 0, "its size is impossible");
	return true;
}

static bool check_ids(const struct wire_attr *attrs, struct wire_error *err)
{
	static const int types[] = { LAUNCH_UID_ATTR, LAUNCH_GID_ATTR };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		const struct wire_attr *attr = pick(attrs, types[i]);

		/* setresuid(2) takes it for "as it is". */
		if (attr->present && attr->number == UINT32_MAX)
			return refuse(err, attr, 0, "the number is no id");
	}
	if (pick(attrs, LAUNCH_UMASK_ATTR)->number > 0777)
		return refuse(err, pick(attrs, LAUNCH_UMASK_ATTR), 0, "no mask of file modes");
	return true;
}

static bool check_records(const struct wire_attr *attr, const char *(*check)(struct span, size_t *),
			  struct wire_error *err)
{
	size_t at;
	const char *wrong = attr->present ? check(attr->text, &at) : NULL;

	return wrong ? refuse(err, attr, at, wrong) : true;
}

static bool check_lists(const struct wire_attr *attrs, struct wire_error *err)
{
	return check_fds(pick(attrs, LAUNCH_KEEP_FDS_ATTR), err) &&
	       check_fds(pick(attrs, LAUNCH_DOORS_ATTR), err) &&
	       check_records(pick(attrs, LAUNCH_HELD_ATTR), records_check_capabilities, err) &&
	       check_records(pick(attrs, LAUNCH_BOUNDING_ATTR), records_check_capabilities, err) &&
	       check_records(pick(attrs, LAUNCH_MOUNTS_ATTR), records_check_mounts, err) &&
	       check_records(pick(attrs, LAUNCH_RLIMITS_ATTR), records_check_limits, err) &&
	       check_records(pick(attrs, LAUNCH_CAPABILITIES_ATTR), records_check_capabilities,
			     err) &&
	       check_records(pick(attrs, LAUNCH_LANDLOCK_ATTR), records_check_rules, err) &&
	       check_array(pick(attrs, LAUNCH_CPUS_ATTR), 8, 1, 1024, err) &&
	       check_array(pick(attrs, LAUNCH_GROUPS_ATTR), 4, 0, 65536, err) &&
	       check_array(pick(attrs, LAUNCH_SECCOMP_ATTR), 8, 1, 4096, err);
}

static int64_t id_or_none(const struct wire_attr *attr)
{
	return attr->present ? (int64_t)attr->number : -1;
}

static void fill_tail(const struct wire_attr *attrs, struct launch *out)
{
	out->loopback = pick(attrs, LAUNCH_LOOPBACK_ATTR)->number;
	out->root = pick(attrs, LAUNCH_ROOT_ATTR)->text;
	out->read_only = pick(attrs, LAUNCH_READ_ONLY_ATTR)->number;
	out->mounts = pick(attrs, LAUNCH_MOUNTS_ATTR)->text;
	out->keep_session = pick(attrs, LAUNCH_KEEP_SESSION_ATTR)->number;
	out->terminal = pick(attrs, LAUNCH_TERMINAL_ATTR)->number;
	out->init_fd = number_or(pick(attrs, LAUNCH_INIT_FD_ATTR), -1);
	out->reaper_fd = number_or(pick(attrs, LAUNCH_REAPER_FD_ATTR), -1);
	out->rlimits = pick(attrs, LAUNCH_RLIMITS_ATTR)->text;
	out->umask = number_or(pick(attrs, LAUNCH_UMASK_ATTR), -1);
	out->cpus = pick(attrs, LAUNCH_CPUS_ATTR)->text;
	out->uid = id_or_none(pick(attrs, LAUNCH_UID_ATTR));
	out->gid = id_or_none(pick(attrs, LAUNCH_GID_ATTR));
	out->groups = pick(attrs, LAUNCH_GROUPS_ATTR)->text;
	out->capabilities = pick(attrs, LAUNCH_CAPABILITIES_ATTR)->text;
	out->no_new_privs = pick(attrs, LAUNCH_NO_NEW_PRIVS_ATTR)->number;
	out->landlock = pick(attrs, LAUNCH_LANDLOCK_ATTR)->text;
	out->seccomp = pick(attrs, LAUNCH_SECCOMP_ATTR)->text;
	out->seccomp_flags = pick(attrs, LAUNCH_SECCOMP_FLAGS_ATTR)->number;
	out->gate_fd = number_or(pick(attrs, LAUNCH_GATE_FD_ATTR), -1);
	out->process_group = number_or(pick(attrs, LAUNCH_PROCESS_GROUP_ATTR), -1);
	out->die_with_parent = pick(attrs, LAUNCH_DIE_WITH_PARENT_ATTR)->number;
	out->held = pick(attrs, LAUNCH_HELD_ATTR)->text;
	out->bounding = pick(attrs, LAUNCH_BOUNDING_ATTR)->text;
	out->doors = pick(attrs, LAUNCH_DOORS_ATTR)->text;
}

bool launch_parse(const uint8_t *data, size_t size, struct launch *out, struct wire_error *err)
{
	struct wire_attr attrs[LAUNCH_ATTR_COUNT];
	const struct launch defaults = LAUNCH_DEFAULTS;

	if (!wire_parse(&launch_message, data, size, attrs, err))
		return false;
	*out = (struct launch){
		.hostname = pick(attrs, LAUNCH_HOSTNAME_ATTR)->text,
		.cwd = pick(attrs, LAUNCH_CWD_ATTR)->text,
		.keep_fds = pick(attrs, LAUNCH_KEEP_FDS_ATTR)->text,
		.mount_proc = pick(attrs, LAUNCH_MOUNT_PROC_ATTR)->number,
		.trace = pick(attrs, LAUNCH_TRACE_ATTR)->number,
		.cgroup_fd = number_or(pick(attrs, LAUNCH_CGROUP_FD_ATTR), defaults.cgroup_fd),
		.timeout_ms = number_or(pick(attrs, LAUNCH_TIMEOUT_ATTR), defaults.timeout_ms),
	};
	fill_tail(attrs, out);
	return check_root(pick(attrs, LAUNCH_ROOT_ATTR), err) && check_ids(attrs, err) &&
	       check_lists(attrs, err);
}
