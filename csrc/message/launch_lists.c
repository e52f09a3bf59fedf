/* SPDX-License-Identifier: Apache-2.0 */
#include "message/launch_lists.h"

#include <limits.h>

#define RESOURCES 16

static bool is_absolute(struct span path)
{
	return path.len && path.data[0] == '/';
}

static bool has_letter(struct span letters, char letter)
{
	for (size_t i = 0; i < letters.len; i++)
		if (letters.data[i] == letter)
			return true;
	return false;
}

static bool parse_kind(struct span word, enum mount_kind *kind)
{
	static const char *const names[] = {
		[MOUNT_BIND] = "bind",	 [MOUNT_TMPFS] = "tmpfs", [MOUNT_PROC] = "proc",
		[MOUNT_DEV] = "dev",	 [MOUNT_FILE] = "file",	  [MOUNT_TREE] = "tree",
		[MOUNT_SYSFS] = "sysfs",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (span_equals(word, names[i])) {
			*kind = (enum mount_kind)i;
			return true;
		}
	}
	return false;
}

/* Read and check the argument of a mount, as its kind requires. */
static bool read_argument(struct mount_record *record)
{
	uint64_t fd;

	record->tree = -1;
	if (record->kind == MOUNT_BIND)
		return is_absolute(record->argument);
	if (record->kind != MOUNT_TREE)
		return true;
	if (!parse_decimal(record->argument, INT_MAX, &fd))
		return false;
	record->tree = (int)fd;
	return true;
}

bool records_next_mount(struct span *rest, struct mount_record *record)
{
	struct span kind, flags;

	if (!span_ended(rest, '\0', &kind) || !span_ended(rest, '\0', &record->target) ||
	    !span_ended(rest, '\0', &record->argument) || !span_ended(rest, '\0', &flags))
		return false;
	record->writable = has_letter(flags, 'w');
	record->devices = has_letter(flags, 'd');
	record->makes_target = has_letter(flags, 'm');
	return parse_kind(kind, &record->kind) && is_absolute(record->target) &&
	       read_argument(record) &&
	       flags.len == (size_t)record->writable + record->devices + record->makes_target;
}

static bool read_port(struct span text, struct rule *rule)
{
	uint64_t port = 0;

	rule->port = -1;
	if (span_equals(text, "none"))
		return true;
	if (!parse_decimal(text, UINT16_MAX, &port))
		return false;
	rule->port = (int)port;
	return true;
}

/* Read a rule that is about no path. */
static bool read_word(struct span word, struct span value, struct rule *rule)
{
	if (span_equals(word, "bind") || span_equals(word, "connect")) {
		rule->kind = word.len == 4 ? RULE_BIND : RULE_CONNECT;
		return read_port(value, rule);
	}
	if (span_equals(word, "scope")) {
		rule->kind = RULE_SCOPE;
		rule->abstract_sockets = has_letter(value, 'a');
		rule->signals = has_letter(value, 's');
		return value.len && value.len == (size_t)rule->abstract_sockets + rule->signals;
	}
	rule->kind = RULE_NO_PATHS;
	return span_equals(word, "paths") && span_equals(value, "any");
}

bool records_next_rule(struct span *rest, struct rule *rule)
{
	struct span rights;

	if (!span_ended(rest, '\0', &rule->path) || !span_ended(rest, '\0', &rights))
		return false;
	rule->read = has_letter(rights, 'r');
	rule->write = has_letter(rights, 'w');
	rule->execute = has_letter(rights, 'x');
	if (!is_absolute(rule->path))
		return read_word(rule->path, rights, rule);
	rule->kind = RULE_PATH;
	return rights.len && rights.len == (size_t)rule->read + rule->write + rule->execute;
}

bool records_next_limit(struct span *rest, struct limit *limit)
{
	struct span record, word;
	uint64_t number;

	if (!span_next(rest, ',', &record) || !span_next(&record, ':', &limit->name) ||
	    !span_next(&record, ':', &word) || !parse_decimal(word, RESOURCES - 1, &number))
		return false;
	limit->resource = (unsigned)number;
	return span_next(&record, ':', &word) && parse_decimal(word, UINT64_MAX, &limit->soft) &&
	       parse_decimal(record, UINT64_MAX, &limit->hard);
}

bool records_next_capability(struct span *rest, struct capability *capability)
{
	struct span record, word;
	uint64_t number;

	if (!span_next(rest, ',', &record) || !span_next(&record, ':', &word) ||
	    !parse_decimal(word, CAPABILITIES - 1, &number))
		return false;
	capability->number = (unsigned)number;
	capability->name = record;
	return true;
}

/* Check a list by taking it apart: `take` takes a record off its front. */
static const char *check_list(struct span list, bool (*take)(struct span *rest), const char *wrong,
			      size_t *at)
{
	struct span rest = list;

	while (rest.len) {
		*at = (size_t)(rest.data - list.data);
		if (!take(&rest))
			return wrong;
	}
	return NULL;
}

static bool take_mount(struct span *rest)
{
	struct mount_record record;

	return records_next_mount(rest, &record);
}

static bool take_rule(struct span *rest)
{
	struct rule rule;

	return records_next_rule(rest, &rule);
}

static bool take_limit(struct span *rest)
{
	struct limit limit;

	return records_next_limit(rest, &limit);
}

static bool take_capability(struct span *rest)
{
	struct capability capability;

	return records_next_capability(rest, &capability);
}

const char *records_check_mounts(struct span list, size_t *at)
{
	const char *wrong = check_list(list, take_mount, "not a mount's four strings", at);
	struct span rest = list;

	for (size_t count = 0; !wrong && rest.len; count++) {
		*at = (size_t)(rest.data - list.data);
		if (count == MOUNTS_MAX)
			wrong = "there are more mounts than 256";
		take_mount(&rest);
	}
	return wrong;
}

const char *records_check_rules(struct span list, size_t *at)
{
	return check_list(list, take_rule, "not a path and letters of rwx, nor another rule", at);
}

const char *records_check_limits(struct span list, size_t *at)
{
	return check_list(list, take_limit, "not name:number:soft:hard", at);
}

const char *records_check_capabilities(struct span list, size_t *at)
{
	return check_list(list, take_capability, "not number:name", at);
}
