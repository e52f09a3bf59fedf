/* Records are read as they are written, and what is malformed is seen. */
#include "message/launch_lists.h"

#include "check.h"

/* On the heap, NULs included, exactly as long as it is. */
static struct span bytes(const char *data, size_t len)
{
	char *copy = malloc(len ? len : 1);

	CHECK(copy);
	memcpy(copy, data, len);
	return (struct span){ copy, len };
}

static void drop(struct span copy)
{
	free((void *)(uintptr_t)copy.data);
}

#define BYTES(literal) bytes(literal, sizeof(literal) - 1)

static bool is_refused(const char *(*check)(struct span, size_t *), struct span list)
{
	size_t at;
	const char *wrong = check(list, &at);

	CHECK(!wrong || at <= list.len);
	return wrong != NULL;
}

static bool refuses(const char *(*check)(struct span, size_t *), struct span copy)
{
	bool refused = is_refused(check, copy);

	drop(copy);
	return refused;
}

static void mounts_come_out_as_they_were_put_in(void)
{
	const struct span copy = BYTES("bind\0/to\0/from\0wm\0tmpfs\0/t\0mode=755\0\0tree\0/r\0"
				       "17\0w\0");
	struct span list = copy;
	struct mount_record record;

	CHECK(!is_refused(records_check_mounts, list));
	CHECK(records_next_mount(&list, &record) && record.kind == MOUNT_BIND);
	CHECK_TEXT(record.target.data, "/to");
	CHECK_TEXT(record.argument.data, "/from");
	CHECK(record.writable && record.makes_target && !record.devices);
	CHECK(records_next_mount(&list, &record) && record.kind == MOUNT_TMPFS);
	CHECK_TEXT(record.argument.data, "mode=755");
	CHECK(!record.writable && record.tree == -1);
	CHECK(records_next_mount(&list, &record) && record.kind == MOUNT_TREE);
	CHECK(record.tree == 17 && record.writable && !records_next_mount(&list, &record));
	drop(copy);
}

static void bad_mounts_are_refused(void)
{
	CHECK(refuses(records_check_mounts, BYTES("bind\0/to\0/from\0")));
	CHECK(refuses(records_check_mounts, BYTES("bind\0/to\0/from\0w")));
	CHECK(refuses(records_check_mounts, BYTES("bind\0/to\0from\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("bind\0to\0/from\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("ext4\0/to\0/from\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("bind\0/to\0/from\0ww\0")));
	CHECK(refuses(records_check_mounts, BYTES("bind\0/to\0/from\0z\0")));
	CHECK(refuses(records_check_mounts, BYTES("\0")));
	CHECK(!refuses(records_check_mounts, BYTES("sysfs\0/sys\0\0w\0")));
	CHECK(refuses(records_check_mounts, BYTES("sysfs\0sys\0\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("tree\0/to\0\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("tree\0/to\0-1\0\0")));
	CHECK(refuses(records_check_mounts, BYTES("tree\0/to\0"
						  "2147483648\0\0")));
}

static void more_mounts_than_there_is_room_for_are_refused(void)
{
	static const char one[] = "proc\0/p\0\0";
	static char many[(MOUNTS_MAX + 1) * sizeof(one)];

	for (size_t i = 0; i <= MOUNTS_MAX; i++)
		memcpy(many + i * sizeof(one), one, sizeof(one));
	CHECK(!refuses(records_check_mounts, bytes(many, sizeof(many) - sizeof(one))));
	CHECK(refuses(records_check_mounts, bytes(many, sizeof(many))));
}

static void rules_come_out_as_they_were_put_in(void)
{
	const struct span copy = BYTES("/usr\0rx\0/\0w\0");
	struct span list = copy;
	struct rule rule;

	CHECK(!is_refused(records_check_rules, list));
	CHECK(records_next_rule(&list, &rule) && rule.read && rule.execute && !rule.write);
	CHECK(records_next_rule(&list, &rule) && rule.write && !rule.read);
	CHECK_TEXT(rule.path.data, "/");
	drop(copy);
	CHECK(refuses(records_check_rules, BYTES("/usr\0\0")));
	CHECK(refuses(records_check_rules, BYTES("/usr\0rr\0")));
	CHECK(refuses(records_check_rules, BYTES("usr\0r\0")));
	CHECK(refuses(records_check_rules, BYTES("/usr\0r")));
}

static void limits_come_out_as_they_were_put_in(void)
{
	const struct span copy = BYTES("nofile:7:10:20,cpu:0:1:18446744073709551615");
	struct span list = copy;
	struct limit limit;

	CHECK(!is_refused(records_check_limits, list));
	CHECK(records_next_limit(&list, &limit) && limit.resource == 7);
	CHECK(span_equals(limit.name, "nofile") && limit.soft == 10 && limit.hard == 20);
	CHECK(records_next_limit(&list, &limit) && limit.hard == UINT64_MAX);
	drop(copy);
	CHECK(refuses(records_check_limits, BYTES("nofile:16:1:2")));
	CHECK(refuses(records_check_limits, BYTES("nofile:7:1")));
	CHECK(refuses(records_check_limits, BYTES("nofile:7:1:")));
	CHECK(refuses(records_check_limits, BYTES("nofile:7:1:2:3")));
	CHECK(refuses(records_check_limits, BYTES("nofile:7:-1:2")));
	CHECK(refuses(records_check_limits, BYTES("nofile:7:1:18446744073709551616")));
}

static void capabilities_come_out_as_they_were_put_in(void)
{
	const struct span copy = BYTES("0:CAP_CHOWN,40:CAP_X");
	struct span list = copy;
	struct capability capability;

	CHECK(!is_refused(records_check_capabilities, list));
	CHECK(records_next_capability(&list, &capability) && capability.number == 0);
	CHECK(records_next_capability(&list, &capability) && capability.number == 40);
	CHECK(span_equals(capability.name, "CAP_X"));
	drop(copy);
	CHECK(refuses(records_check_capabilities, BYTES("64:CAP_Y")));
	CHECK(refuses(records_check_capabilities, BYTES("CAP_Y")));
	CHECK(!refuses(records_check_capabilities, BYTES("")));
}

int main(void)
{
	mounts_come_out_as_they_were_put_in();
	bad_mounts_are_refused();
	more_mounts_than_there_is_room_for_are_refused();
	rules_come_out_as_they_were_put_in();
	limits_come_out_as_they_were_put_in();
	capabilities_come_out_as_they_were_put_in();
	return 0;
}
