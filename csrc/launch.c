/* SPDX-License-Identifier: Apache-2.0 */
#include "launch.h"

#include <limits.h>

static const struct wire_spec specs[LAUNCH_ATTR_COUNT] = {
	{ "HOSTNAME", WIRE_TEXT }, { "MOUNT_PROC", WIRE_BOOL }, { "CWD", WIRE_TEXT },
	{ "KEEP_FDS", WIRE_TEXT }, { "CGROUP_FD", WIRE_U32 },	{ "TIMEOUT", WIRE_U32 },
	{ "TRACE", WIRE_BOOL },
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

/* "0,1,2,9": numbers that rise. */
static bool check_fds(const struct wire_attr *attr, struct wire_error *err)
{
	struct span rest = attr->text;
	unsigned least = 0;
	unsigned fd;

	while (rest.len) {
		size_t at = (size_t)(rest.data - attr->text.data);

		if (!launch_next_fd(&rest, &fd) || fd < least) {
			*err = (struct wire_error){ attr->type,
						    attr->offset + WIRE_ATTR_HEADER + (uint32_t)at,
						    "not a list of numbers that rise" };
			return false;
		}
		least = fd + 1;
	}
	return true;
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
	return check_fds(pick(attrs, LAUNCH_KEEP_FDS_ATTR), err);
}
