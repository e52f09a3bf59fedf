/* Whatever is encoded is parsed to the same, and nothing is read past the end. */
#include <limits.h>

#include "message/bootstrap.h"
#include "message/launch.h"

#include "check.h"

#define TYPE(NAME) (LAUNCH_FIRST_ATTR + LAUNCH_##NAME)

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct wire_attr number(uint16_t type, uint32_t value)
{
	return (struct wire_attr){ .type = type, .number = value };
}

static struct wire_attr text(uint16_t type, const char *value)
{
	return (struct wire_attr){ .type = type, .text = { value, strlen(value) } };
}

/* On the heap, and exactly as long as it is. */
static uint8_t *encode(const struct wire_attr *attrs, size_t count, uint32_t *size)
{
	struct wire_error err;
	uint8_t *out;

	*size = wire_encode(&bootstrap_message, attrs, count, NULL, 0, &err);
	CHECK(*size);
	out = malloc(*size);
	CHECK(out);
	CHECK(wire_encode(&bootstrap_message, attrs, count, out, *size, &err) == *size);
	return out;
}

static const struct wire_attr *everything(size_t *count)
{
	static struct wire_attr attrs[10];

	attrs[0] = number(CLONE_FLAGS_ATTR, CLONE_NEWUSER | CLONE_NEWTIME);
	attrs[1] = text(NS_PATHS_ATTR, "net:/proc/1/ns/net,mnt:/proc/1/ns/mnt");
	attrs[2] = text(UIDMAPPATH_ATTR, "/usr/bin/newuidmap");
	attrs[3] = text(UIDMAP_ATTR, "0 1000 1\n1 100000 65536\n");
	attrs[4] = text(GIDMAP_ATTR, "0 1000 1\n");
	attrs[5] = text(GIDMAPPATH_ATTR, "/usr/bin/newgidmap");
	attrs[6] = number(SETGROUP_ATTR, 1);
	attrs[7] = text(OOM_SCORE_ADJ_ATTR, "-500");
	attrs[8] = number(ROOTLESS_EUID_ATTR, 1);
	attrs[9] = text(TIMENSOFFSET_ATTR, "monotonic -1 0\nboottime 2 999999999\n");
	*count = COUNT(attrs);
	return attrs;
}

static uint8_t *encode_everything(uint32_t *size)
{
	size_t count;
	const struct wire_attr *attrs = everything(&count);

	return encode(attrs, count, size);
}

static void a_message_comes_back_as_it_was_put_in(void)
{
	struct wire_error err;
	struct bootstrap boot;
	uint32_t size;
	uint8_t *blob = encode_everything(&size);

	CHECK(bootstrap_parse(blob, size, &boot, &err));
	CHECK(boot.cloneflags == (CLONE_NEWUSER | CLONE_NEWTIME));
	CHECK(boot.join.count == 2 && boot.join.items[1].flag == CLONE_NEWNS);
	CHECK(span_equals(boot.join.items[0].path, "/proc/1/ns/net"));
	CHECK(span_equals(boot.uidmap_path, "/usr/bin/newuidmap"));
	CHECK(span_equals(boot.gidmap_path, "/usr/bin/newgidmap"));
	CHECK(span_equals(boot.uidmap, "0 1000 1\n1 100000 65536\n"));
	CHECK(span_equals(boot.oom_score_adj, "-500"));
	CHECK(boot.setgroup && boot.rootless_euid);
	free(blob);
}

#define EVERYTHING                                                                                 \
	"net:/proc/1/ns/net,mnt:/proc/1/ns/mnt\0/usr/bin/newuidmap\0"                              \
	"0 1000 1\n1 100000 65536\n\0"                                                             \
	"0 1000 1\n\0/usr/bin/newgidmap\0-500\0monotonic -1 0\nboottime 2 999999999\n"

static uint32_t encode_texts(const char *texts, size_t len, uint8_t *out, size_t cap)
{
	struct wire_error err = { 0 };
	uint32_t size = bootstrap_encode(CLONE_NEWUSER | CLONE_NEWTIME, 1, true, texts, len, out,
					 cap, &err);

	CHECK(size || err.reason);
	return size;
}

static void texts_are_encoded_as_their_attributes_are(void)
{
	size_t room = BOOTSTRAP_ROOM + sizeof(EVERYTHING);
	uint8_t *out = malloc(room);
	uint32_t size;
	uint8_t *expected = encode_everything(&size);

	CHECK(out);
	CHECK(encode_texts(EVERYTHING, sizeof(EVERYTHING), out, room) == size);
	CHECK(memcmp(out, expected, size) == 0);
	CHECK(!encode_texts(EVERYTHING, sizeof(EVERYTHING), out, size - 1));
	free(expected);
	free(out);
}

static void a_text_too_many_is_refused(void)
{
	uint8_t out[BOOTSTRAP_ROOM + sizeof(EVERYTHING "more")];

	CHECK(!encode_texts(EVERYTHING "\0", sizeof(EVERYTHING "\0"), out, sizeof(out)));
	CHECK(!encode_texts(EVERYTHING "\0x", sizeof(EVERYTHING "\0x"), out, sizeof(out)));
}

static void every_truncation_is_refused(void)
{
	struct wire_error err;
	struct bootstrap boot;
	uint32_t size;
	uint8_t *blob = encode_everything(&size);

	for (uint32_t cut = 0; cut < size; cut++) {
		uint8_t *part = malloc(cut ? cut : 1);

		CHECK(part);
		memcpy(part, blob, cut);
		CHECK(!bootstrap_parse(part, cut, &boot, &err) && err.reason);
		/* Also where the header says that this is all there is. */
		if (cut >= WIRE_HEADER_SIZE) {
			memcpy(part, &cut, sizeof(cut));
			bootstrap_parse(part, cut, &boot, &err);
		}
		free(part);
	}
	free(blob);
}

static void no_changed_byte_leads_outside(void)
{
	struct wire_error err;
	struct bootstrap boot;
	uint32_t size;
	uint8_t *blob = encode_everything(&size);

	for (uint32_t at = 0; at < size; at++) {
		for (unsigned value = 0; value < 256; value++) {
			uint8_t before = blob[at];

			blob[at] = (uint8_t)value;
			bootstrap_parse(blob, size, &boot, &err);
			blob[at] = before;
		}
	}
	free(blob);
}

static void a_value_over_the_length_field_is_refused(void)
{
	static char big[WIRE_ATTR_MAX];
	struct wire_attr attr = { .type = NS_PATHS_ATTR };
	struct wire_error err;

	memset(big, 'y', sizeof(big));
	attr.text = (struct span){ big, 65530 };
	CHECK(wire_encode(&bootstrap_message, &attr, 1, NULL, 0, &err) == 65552);
	attr.text.len++;
	CHECK(!wire_encode(&bootstrap_message, &attr, 1, NULL, 0, &err));
	CHECK(err.attr == NS_PATHS_ATTR);
}

static void a_buffer_too_small_is_not_written_past(void)
{
	size_t count;
	const struct wire_attr *attrs = everything(&count);
	struct wire_error err;
	uint32_t size = wire_encode(&bootstrap_message, attrs, count, NULL, 0, &err);

	for (uint32_t cap = 0; cap < size; cap++) {
		uint8_t *out = malloc(cap ? cap : 1);

		CHECK(out);
		CHECK(!wire_encode(&bootstrap_message, attrs, count, out, cap, &err));
		free(out);
	}
}

static void the_launch_message_has_its_own_type(void)
{
	const struct wire_attr attrs[] = {
		{ .type = TYPE(HOSTNAME), .text = { "box", 3 } },
		{ .type = TYPE(CGROUP_FD), .number = 7 },
		{ .type = TYPE(TIMEOUT), .number = UINT32_MAX },
	};
	uint8_t out[128];
	struct wire_error err;
	struct launch launch;
	struct bootstrap boot;
	uint32_t size = wire_encode(&launch_message, attrs, COUNT(attrs), out, sizeof(out), &err);

	CHECK(size);
	CHECK(launch_parse(out, size, &launch, &err));
	CHECK(span_equals(launch.hostname, "box") && launch.cgroup_fd == 7);
	CHECK(launch.timeout_ms == INT32_MAX && !launch.trace);
	CHECK(!bootstrap_parse(out, size, &boot, &err));
}

/* A message of runc up to 1.1 with these mount sources. */
static bool has_sources(struct span sources, struct bootstrap *boot, struct wire_error *err)
{
	const struct wire_attr attrs[] = {
		{ .type = CLONE_FLAGS_ATTR, .number = CLONE_NEWNS },
		{ .type = TIMENSOFFSET_ATTR, .text = sources },
	};
	static uint8_t out[8192];
	uint32_t size =
		wire_encode(&bootstrap_message_1_1, attrs, COUNT(attrs), out, sizeof(out), err);

	CHECK(size);
	return bootstrap_parse_1_1(out, size, boot, err);
}

static void mount_sources_are_paths_that_end_in_a_nul(void)
{
	static char long_path[PATH_MAX + 1];
	static const char two[] = "/a\0\0/b";
	struct bootstrap boot;
	struct wire_error err;

	CHECK(has_sources((struct span){ two, sizeof(two) }, &boot, &err));
	CHECK(boot.mount_sources.len == sizeof(two) && !boot.timens_offsets.data);
	CHECK(!has_sources((struct span){ two, sizeof(two) - 1 }, &boot, &err));
	CHECK(err.attr == TIMENSOFFSET_ATTR);
	memset(long_path, 'x', PATH_MAX);
	CHECK(!has_sources((struct span){ long_path, PATH_MAX + 1 }, &boot, &err));
	long_path[PATH_MAX - 1] = '\0';
	CHECK(has_sources((struct span){ long_path, PATH_MAX }, &boot, &err));
}

static bool parses(const struct wire_attr *attr, struct launch *launch, struct wire_error *err)
{
	/* What is parsed points into it. */
	static uint8_t *out;
	uint32_t size = wire_encode(&launch_message, attr, 1, NULL, 0, err);

	CHECK(size);
	free(out);
	out = malloc(size);
	CHECK(out);
	CHECK(wire_encode(&launch_message, attr, 1, out, size, err) == size);
	return launch_parse(out, size, launch, err);
}

static bool takes(uint16_t type, const char *bytes, size_t len)
{
	const struct wire_attr attr = { .type = type, .text = { bytes, len } };
	struct launch launch;
	struct wire_error err;
	bool taken = parses(&attr, &launch, &err);

	CHECK(taken || (err.attr == type && err.reason));
	return taken;
}

#define TAKES(type, literal) takes(type, literal, sizeof(literal) - 1)

static void what_was_not_sent_is_not_asked_for(void)
{
	const struct wire_attr attr = { .type = TYPE(TRACE) };
	struct wire_error err;
	struct launch launch;

	CHECK(parses(&attr, &launch, &err));
	CHECK(!launch.groups.data && !launch.capabilities.data && !launch.landlock.data);
	CHECK(launch.uid == -1 && launch.gid == -1 && launch.umask == -1 && launch.init_fd == -1);
}

static void bytes_may_be_none_and_have_nuls(void)
{
	struct wire_attr attr = { .type = TYPE(GROUPS), .text = { "", 0 } };
	struct wire_error err;
	struct launch launch;

	CHECK(parses(&attr, &launch, &err));
	CHECK(launch.groups.data && launch.groups.len == 0);
	attr.text = (struct span){ "\0\0\0\1\2\3\4\5", 8 };
	CHECK(parses(&attr, &launch, &err));
	CHECK(launch.groups.len == 8 && memcmp(launch.groups.data, attr.text.data, 8) == 0);
}

static void arrays_have_whole_elements_and_not_too_many(void)
{
	static char many[4097 * 8];

	CHECK(!TAKES(TYPE(GROUPS), "12345"));
	CHECK(TAKES(TYPE(CPUS), "12345678") && !TAKES(TYPE(CPUS), "1234"));
	CHECK(!TAKES(TYPE(CPUS), "") && !TAKES(TYPE(SECCOMP), ""));
	CHECK(takes(TYPE(SECCOMP), many, sizeof(many) - 8));
	CHECK(!takes(TYPE(SECCOMP), many, sizeof(many)));
}

static void a_root_is_a_path_or_tmpfs_or_a_tree(void)
{
	CHECK(TAKES(TYPE(ROOT), "tmpfs") && TAKES(TYPE(ROOT), "/srv"));
	CHECK(TAKES(TYPE(ROOT), "tree") && !TAKES(TYPE(ROOT), "trees"));
	CHECK(!TAKES(TYPE(ROOT), "srv") && !TAKES(TYPE(ROOT), ""));
}

static void numbers_of_the_tail_are_in_range(void)
{
	struct wire_attr attr = { .type = TYPE(UID), .number = UINT32_MAX - 1 };
	struct wire_error err;
	struct launch launch;

	CHECK(parses(&attr, &launch, &err) && launch.uid == UINT32_MAX - 1);
	attr.number++;
	CHECK(!parses(&attr, &launch, &err) && err.attr == TYPE(UID));
	attr = (struct wire_attr){ .type = TYPE(UMASK), .number = 01000 };
	CHECK(!parses(&attr, &launch, &err) && err.attr == TYPE(UMASK));
}

static void a_list_with_a_bad_record_is_refused_at_its_offset(void)
{
	const struct wire_attr attr = {
		.type = TYPE(MOUNTS),
		.text = { "proc\0/p\0\0\0bind\0/t\0src\0\0", 24 },
	};
	struct wire_error err;
	struct launch launch;

	CHECK(!parses(&attr, &launch, &err));
	CHECK(err.attr == TYPE(MOUNTS));
	CHECK(err.offset == WIRE_HEADER_SIZE + WIRE_ATTR_HEADER + 10);
}

int main(void)
{
	what_was_not_sent_is_not_asked_for();
	bytes_may_be_none_and_have_nuls();
	arrays_have_whole_elements_and_not_too_many();
	a_root_is_a_path_or_tmpfs_or_a_tree();
	numbers_of_the_tail_are_in_range();
	a_list_with_a_bad_record_is_refused_at_its_offset();

	a_message_comes_back_as_it_was_put_in();
	texts_are_encoded_as_their_attributes_are();
	a_text_too_many_is_refused();
	every_truncation_is_refused();
	no_changed_byte_leads_outside();
	a_value_over_the_length_field_is_refused();
	a_buffer_too_small_is_not_written_past();
	the_launch_message_has_its_own_type();
	mount_sources_are_paths_that_end_in_a_nul();
	return 0;
}
