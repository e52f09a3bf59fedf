/* libFuzzer's target: each message, parsed from a copy without room behind it; what is parsed
 * is encoded and must come out as the same message. */
#include <stdlib.h>
#include <string.h>

#include "message/bootstrap.h"
#include "message/launch.h"
#include "message/launch_lists.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The attributes in the message's own order: what encoding them must give back is the message,
 * its header's free fields and its padding aside. */
static void encode_again(const struct wire_message *message, const uint8_t *data, uint32_t size)
{
	struct wire_attr attrs[32];
	struct wire_error err;
	uint32_t offset = WIRE_HEADER_SIZE;
	size_t count = 0;
	uint8_t *out = malloc(size);

	if (!out)
		abort();
	while (wire_next(message, data, size, &offset, &attrs[count], &err))
		count++;
	if (wire_encode(message, attrs, count, out, size, &err) != size)
		abort();
	for (size_t i = 0; i < count; i++) {
		enum wire_kind kind = wire_spec(message, attrs[i].type)->kind;
		size_t len = kind == WIRE_TEXT	  ? attrs[i].text.len + 1
			     : kind == WIRE_BYTES ? attrs[i].text.len
						  : sizeof(uint32_t);

		if (memcmp(out + attrs[i].offset, data + attrs[i].offset, 4 + len) != 0)
			abort();
	}
	free(out);
}

/* Lists that were checked are taken apart to their ends. */
static void take_apart(const struct launch *launch)
{
	struct span mounts = launch->mounts, rules = launch->landlock, limits = launch->rlimits,
		    capabilities = launch->capabilities;
	struct mount_record mount;
	struct rule rule;
	struct limit limit;
	struct capability capability;

	while (records_next_mount(&mounts, &mount))
		if (mount.target.data[mount.target.len] || mount.argument.data[mount.argument.len])
			abort();
	while (records_next_rule(&rules, &rule))
		if (rule.path.data[rule.path.len])
			abort();
	while (records_next_limit(&limits, &limit))
		if (limit.resource > 15)
			abort();
	while (records_next_capability(&capabilities, &capability))
		if (capability.number > 63)
			abort();
	if (mounts.len || rules.len || limits.len || capabilities.len)
		abort();
}

/* Each mount source ends in a NUL, as open(2) needs it. */
static void take_sources_apart(struct span sources)
{
	struct span path;

	while (span_ended(&sources, '\0', &path))
		if (path.data[path.len])
			abort();
	if (sources.len)
		abort();
}

static void parse_1_1(const uint8_t *data, size_t size)
{
	struct bootstrap boot;
	struct wire_error err;

	if (bootstrap_parse_1_1(data, size, &boot, &err)) {
		encode_again(&bootstrap_message_1_1, data, (uint32_t)size);
		take_sources_apart(boot.mount_sources);
	} else if (!err.reason) {
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bootstrap boot;
	struct launch launch;
	struct wire_error err;
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	if (size)
		memcpy(copy, data, size);
	if (bootstrap_parse(copy, size, &boot, &err))
		encode_again(&bootstrap_message, copy, (uint32_t)size);
	else if (!err.reason)
		abort();
	parse_1_1(copy, size);
	if (launch_parse(copy, size, &launch, &err)) {
		encode_again(&launch_message, copy, (uint32_t)size);
		take_apart(&launch);
	} else if (!err.reason) {
		abort();
	}
	free(copy);
	return 0;
}
