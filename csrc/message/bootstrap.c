/* SPDX-License-Identifier: Apache-2.0 */
#include "message/bootstrap.h"

#include <limits.h>

#include "message/idmap.h"

#define SPECS_OF_BOTH                                                                              \
	{ "CLONE_FLAGS", WIRE_U32 }, { "NS_PATHS", WIRE_TEXT }, { "UIDMAP", WIRE_TEXT },           \
		{ "GIDMAP", WIRE_TEXT }, { "SETGROUP", WIRE_BOOL },                                \
		{ "OOM_SCORE_ADJ", WIRE_TEXT }, { "ROOTLESS_EUID", WIRE_BOOL },                    \
		{ "UIDMAPPATH", WIRE_TEXT },                                                       \
	{                                                                                          \
		"GIDMAPPATH", WIRE_TEXT                                                            \
	}

static const struct wire_spec specs[BOOTSTRAP_ATTR_COUNT] = {
	SPECS_OF_BOTH,
	{ "TIMENSOFFSET", WIRE_TEXT },
};

static const struct wire_spec specs_1_1[BOOTSTRAP_ATTR_COUNT] = {
	SPECS_OF_BOTH,
	{ "MOUNT_SOURCES", WIRE_BYTES },
};

const struct wire_message bootstrap_message_1_1 = {
	.type = 62000,
	.first_attr = CLONE_FLAGS_ATTR,
	.attr_count = BOOTSTRAP_ATTR_COUNT,
	.attrs = specs_1_1,
};

const struct wire_message bootstrap_message = {
	.type = 62000,
	.first_attr = CLONE_FLAGS_ATTR,
	.attr_count = BOOTSTRAP_ATTR_COUNT,
	.attrs = specs,
};

static const struct wire_attr *pick(const struct wire_attr *attrs, int type)
{
	return &attrs[type - CLONE_FLAGS_ATTR];
}

static bool refuse(struct wire_error *err, const struct wire_attr *attr, size_t at,
		   const char *reason)
{
	err->attr = attr->type;
	err->offset = attr->offset + (uint32_t)at;
	err->reason = reason;
	return false;
}

/* Returns where a place in a text is, from the start of its attribute. */
static size_t in_text(size_t at)
{
	return WIRE_ATTR_HEADER + at;
}

static bool check_flags(const struct wire_attr *attr, struct wire_error *err)
{
	if (attr->number & ~(uint32_t)NAMESPACE_FLAGS)
		return refuse(err, attr, WIRE_ATTR_HEADER,
			      "a flag is none of the CLONE_NEW* namespaces");
	return true;
}

static bool check_join(const struct wire_attr *attr, struct bootstrap *out, struct wire_error *err)
{
	const char *wrong;
	size_t at;

	if (!attr->present)
		return true;
	wrong = namespaces_parse(attr->text, &out->join, &at);
	if (wrong)
		return refuse(err, attr, in_text(at), wrong);
	for (size_t i = 0; i < out->join.count; i++) {
		const struct namespace_join *ns = &out->join.items[i];

		if (ns->flag & out->cloneflags)
			return refuse(err, attr, in_text((size_t)(ns->path.data - attr->text.data)),
				      "a namespace is both joined and new");
	}
	return true;
}

static bool check_map(const struct wire_attr *attr, uint32_t cloneflags, struct wire_error *err)
{
	const char *wrong;
	size_t at;

	if (!attr->present)
		return true;
	if (!(cloneflags & CLONE_NEWUSER))
		return refuse(err, attr, 0, "an id map, but no new user namespace");
	wrong = idmap_check(attr->text, &at);
	return wrong ? refuse(err, attr, in_text(at), wrong) : true;
}

static bool check_tool(const struct wire_attr *attr, struct wire_error *err)
{
	if (!attr->present)
		return true;
	if (attr->text.len == 0 || attr->text.data[0] != '/')
		return refuse(err, attr, in_text(0), "the mapping tool's path is not absolute");
	return true;
}

/* Returns whether a word is a number as %d prints it in Go and C: without a plus, leading zeroes
 * and minus zero. */
static bool parse_signed(struct span word, uint64_t max_negative, uint64_t max_positive)
{
	bool negative = word.len && word.data[0] == '-';
	uint64_t n;

	if (negative)
		word = (struct span){ word.data + 1, word.len - 1 };
	return parse_decimal(word, negative ? max_negative : max_positive, &n) &&
	       !(negative && n == 0);
}

static bool check_oom(const struct wire_attr *attr, struct wire_error *err)
{
	if (attr->present && !parse_signed(attr->text, 1000, 1000))
		return refuse(err, attr, in_text(0), "not a number from -1000 to 1000");
	return true;
}

/* Returns which of the two clocks of a time namespace a line sets, as a bit; 0 if it is
 * malformed. */
static unsigned parse_offset(struct span line)
{
	struct span clock, secs, nsecs;
	uint64_t n;

	if (!span_next(&line, ' ', &clock) || !span_next(&line, ' ', &secs) ||
	    !span_next(&line, ' ', &nsecs) || line.len || nsecs.data[nsecs.len] == ' ')
		return 0;
	if (!parse_signed(secs, (uint64_t)INT64_MAX + 1, INT64_MAX) ||
	    !parse_decimal(nsecs, 999999999, &n))
		return 0;
	if (span_equals(clock, "monotonic"))
		return 1;
	return span_equals(clock, "boottime") ? 2 : 0;
}

static bool check_offsets(const struct wire_attr *attr, uint32_t cloneflags, struct wire_error *err)
{
	struct span rest = attr->text;
	struct span line;
	unsigned seen = 0;

	if (!attr->present)
		return true;
	if (!(cloneflags & CLONE_NEWTIME))
		return refuse(err, attr, 0,
			      "time offsets, but no new time namespace (runc before 1.2 sent "
			      "mount sources under this number)");
	while (span_ended(&rest, '\n', &line)) {
		unsigned clock = parse_offset(line);
		size_t at = (size_t)(line.data - attr->text.data);

		if (!clock)
			return refuse(err, attr, in_text(at),
				      "a line is not `monotonic|boottime secs nsecs`");
		if (seen & clock)
			return refuse(err, attr, in_text(at), "a clock stands twice");
		seen |= clock;
	}
	if (rest.len || !seen)
		return refuse(err, attr, in_text((size_t)(rest.data - attr->text.data)),
			      "the last line does not end in a newline");
	return true;
}

/* Set and check what the attributes mean; attrs[i] is of the type CLONE_FLAGS_ATTR + i. */
static bool understand(const struct wire_attr *attrs, struct bootstrap *out, struct wire_error *err)
{
	*out = (struct bootstrap){
		.cloneflags = pick(attrs, CLONE_FLAGS_ATTR)->number,
		.setgroup = pick(attrs, SETGROUP_ATTR)->number,
		.says_setgroup = pick(attrs, SETGROUP_ATTR)->present,
		.rootless_euid = pick(attrs, ROOTLESS_EUID_ATTR)->number,
		.uidmap = pick(attrs, UIDMAP_ATTR)->text,
		.gidmap = pick(attrs, GIDMAP_ATTR)->text,
		.uidmap_path = pick(attrs, UIDMAPPATH_ATTR)->text,
		.gidmap_path = pick(attrs, GIDMAPPATH_ATTR)->text,
		.oom_score_adj = pick(attrs, OOM_SCORE_ADJ_ATTR)->text,
		.timens_offsets = pick(attrs, TIMENSOFFSET_ATTR)->text,
	};
	return check_flags(pick(attrs, CLONE_FLAGS_ATTR), err) &&
	       check_join(pick(attrs, NS_PATHS_ATTR), out, err) &&
	       check_map(pick(attrs, UIDMAP_ATTR), out->cloneflags, err) &&
	       check_map(pick(attrs, GIDMAP_ATTR), out->cloneflags, err) &&
	       check_tool(pick(attrs, UIDMAPPATH_ATTR), err) &&
	       check_tool(pick(attrs, GIDMAPPATH_ATTR), err) &&
	       check_oom(pick(attrs, OOM_SCORE_ADJ_ATTR), err);
}

/* Check that each source is a path that the kernel takes. */
static bool check_sources(const struct wire_attr *attr, struct wire_error *err)
{
	struct span rest = attr->text;
	struct span path;

	while (span_ended(&rest, '\0', &path))
		if (path.len >= PATH_MAX)
			return refuse(err, attr, in_text((size_t)(path.data - attr->text.data)),
				      "a mount source is longer than a path can be");
	return rest.len ? refuse(err, attr, in_text((size_t)(rest.data - attr->text.data)),
				 "the last mount source does not end in a NUL")
			: true;
}

bool bootstrap_parse(const uint8_t *data, size_t size, struct bootstrap *out,
		     struct wire_error *err)
{
	struct wire_attr attrs[BOOTSTRAP_ATTR_COUNT];

	return wire_parse(&bootstrap_message, data, size, attrs, err) &&
	       understand(attrs, out, err) &&
	       check_offsets(pick(attrs, TIMENSOFFSET_ATTR), out->cloneflags, err);
}

bool bootstrap_parse_1_1(const uint8_t *data, size_t size, struct bootstrap *out,
			 struct wire_error *err)
{
	struct wire_attr attrs[BOOTSTRAP_ATTR_COUNT];

	if (!wire_parse(&bootstrap_message_1_1, data, size, attrs, err) ||
	    !understand(attrs, out, err) || !check_sources(pick(attrs, TIMENSOFFSET_ATTR), err))
		return false;
	out->mount_sources = out->timens_offsets;
	out->timens_offsets = (struct span){ 0 };
	return true;
}

/* Returns an attribute that is to be sent. A text is taken off the front of `rest`. */
static struct wire_attr attr_of(uint16_t type, uint32_t cloneflags, int setgroup,
				bool rootless_euid, struct span *rest)
{
	struct wire_attr attr = { .type = type, .present = true };

	switch (type) {
	case CLONE_FLAGS_ATTR:
		attr.number = cloneflags;
		break;
	case SETGROUP_ATTR:
		attr.number = setgroup > 0;
		attr.present = setgroup >= 0;
		break;
	case ROOTLESS_EUID_ATTR:
		attr.number = rootless_euid;
		break;
	default:
		attr.present = span_next(rest, '\0', &attr.text) && attr.text.len;
	}
	return attr;
}

uint32_t bootstrap_encode(uint32_t cloneflags, int setgroup, bool rootless_euid, const char *texts,
			  size_t len, uint8_t *out, size_t cap, struct wire_error *err)
{
	static const uint16_t order[BOOTSTRAP_ATTR_COUNT] = {
		CLONE_FLAGS_ATTR,   NS_PATHS_ATTR,     UIDMAPPATH_ATTR, UIDMAP_ATTR,
		GIDMAP_ATTR,	    GIDMAPPATH_ATTR,   SETGROUP_ATTR,	OOM_SCORE_ADJ_ATTR,
		ROOTLESS_EUID_ATTR, TIMENSOFFSET_ATTR,
	};
	struct wire_attr by_type[BOOTSTRAP_ATTR_COUNT];
	struct wire_attr sent[BOOTSTRAP_ATTR_COUNT];
	struct span rest = { texts, len };
	struct wire_error unread;
	struct bootstrap meant;
	size_t count = 0;

	err = err ? err : &unread;
	for (size_t i = 0; i < BOOTSTRAP_ATTR_COUNT; i++) {
		struct wire_attr attr =
			attr_of(order[i], cloneflags, setgroup, rootless_euid, &rest);

		by_type[order[i] - CLONE_FLAGS_ATTR] = attr;
		sent[count] = attr;
		count += attr.present;
	}
	if (rest.len) {
		*err = (struct wire_error){ .reason = "a text has a NUL inside" };
		return 0;
	}
	if (!understand(by_type, &meant, err) ||
	    !check_offsets(&by_type[TIMENSOFFSET_ATTR - CLONE_FLAGS_ATTR], meant.cloneflags, err))
		return 0;
	return wire_encode(&bootstrap_message, sent, count, out, cap, err);
}
