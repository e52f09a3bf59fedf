/* SPDX-License-Identifier: Apache-2.0 */
#include "message/launch.h"

#include <limits.h>

#include "message/launch_lists.h"

#define WIRE_KIND_TEXT	 WIRE_TEXT
#define WIRE_KIND_BYTES	 WIRE_BYTES
#define WIRE_KIND_FLAG	 WIRE_BOOL
#define WIRE_KIND_NUMBER WIRE_U32
#define WIRE_KIND_ID	 WIRE_U32
#define WIRE_KIND_BITS	 WIRE_U32

static const struct wire_spec specs[LAUNCH_ATTR_COUNT] = {
#define X(NAME, member, KIND, default, STEP, WAY) { #NAME, WIRE_KIND_##KIND },
	LAUNCH_FIELDS(X)
#undef X
};

const struct wire_message launch_message = {
	.type = 62100,
	.first_attr = LAUNCH_FIRST_ATTR,
	.attr_count = LAUNCH_ATTR_COUNT,
	.attrs = specs,
};

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

/* Check a list such as "0,1,2,9", whose numbers must rise. */
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

	if (attr->present && (rest.len == 0 || rest.data[0] != '/') && !span_equals(rest, "tree") &&
	    !(span_next(&rest, ',', &type) && span_equals(type, "tmpfs")))
		return refuse(err, attr, 0, "neither an absolute path nor \"tmpfs\" or \"tree\"");
	return true;
}

/* Check the size of an array, whose elements have `unit` bytes. */
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
	static const int fields[] = { LAUNCH_UID, LAUNCH_GID };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const struct wire_attr *attr = &attrs[fields[i]];

		/* To setresuid(2), this number means that the id does not change. */
		if (attr->present && attr->number == UINT32_MAX)
			return refuse(err, attr, 0, "the number is no id");
	}
	if (attrs[LAUNCH_UMASK].number > 0777)
		return refuse(err, &attrs[LAUNCH_UMASK], 0, "no mask of file modes");
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
	return check_fds(&attrs[LAUNCH_KEEP_FDS], err) &&
	       check_fds(&attrs[LAUNCH_TASKS_FDS], err) &&
	       check_records(&attrs[LAUNCH_KEEP_CAPS], records_check_capabilities, err) &&
	       check_records(&attrs[LAUNCH_BOUNDING], records_check_capabilities, err) &&
	       check_records(&attrs[LAUNCH_MOUNTS], records_check_mounts, err) &&
	       check_records(&attrs[LAUNCH_RLIMITS], records_check_limits, err) &&
	       check_records(&attrs[LAUNCH_CAPABILITIES], records_check_capabilities, err) &&
	       check_records(&attrs[LAUNCH_LANDLOCK], records_check_rules, err) &&
	       check_array(&attrs[LAUNCH_CPUS], 8, 1, 1024, err) &&
	       check_array(&attrs[LAUNCH_GROUPS], 4, 0, 65536, err) &&
	       check_array(&attrs[LAUNCH_SECCOMP], 8, 1, 4096, err);
}

#define VALUE_TEXT(attr, default)   (attr)->text
#define VALUE_BYTES(attr, default)  (attr)->text
#define VALUE_FLAG(attr, default)   (attr)->number != 0
#define VALUE_NUMBER(attr, default) number_or(attr, default)
#define VALUE_ID(attr, default)	    ((attr)->present ? (int64_t)(attr)->number : (default))
#define VALUE_BITS(attr, default)   (attr)->number

static struct launch launch_of(const struct wire_attr *attrs)
{
	return (struct launch){
#define X(NAME, member, KIND, default, STEP, WAY)                                                  \
	.member = VALUE_##KIND(&attrs[LAUNCH_##NAME], default),
		LAUNCH_FIELDS(X)
#undef X
	};
}

struct launch launch_defaults(void)
{
	static const struct wire_attr absent[LAUNCH_ATTR_COUNT];

	return launch_of(absent);
}

bool launch_parse(const uint8_t *data, size_t size, struct launch *out, struct wire_error *err)
{
	struct wire_attr attrs[LAUNCH_ATTR_COUNT];

	if (!wire_parse(&launch_message, data, size, attrs, err))
		return false;
	*out = launch_of(attrs);
	return check_root(&attrs[LAUNCH_ROOT], err) && check_ids(attrs, err) &&
	       check_lists(attrs, err);
}

#define IS_SET_TEXT(value, default)   ((value).data != NULL)
#define IS_SET_BYTES(value, default)  ((value).data != NULL)
#define IS_SET_FLAG(value, default)   (value)
#define IS_SET_NUMBER(value, default) ((value) != (default))
#define IS_SET_ID(value, default)     ((value) != (default))
#define IS_SET_BITS(value, default)   ((value) != (default))

bool launch_has(const struct launch *launch, enum launch_step step)
{
	bool has = false;

#define X(NAME, member, KIND, default, STEP, WAY)                                                  \
	has |= LAUNCH_##STEP == step && IS_SET_##KIND(launch->member, default);
	LAUNCH_FIELDS(X)
#undef X
	return has;
}

bool launch_takes_stages(const struct launch *launch)
{
	enum { DIRECT, STAGED };
	bool takes = false;

#define X(NAME, member, KIND, default, STEP, WAY)                                                  \
	takes |= WAY == STAGED && IS_SET_##KIND(launch->member, default);
	LAUNCH_FIELDS(X)
#undef X
	return takes;
}
