/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/landlock.h"

#include "base/descriptor.h"
#include "message/launch_lists.h"
#include "inside/mount_api.h"

/* linux/landlock.h, of which the headers of a distribution have an older version. */
#define CREATE_RULESET_VERSION 1
#define TYPE_PATH_BENEATH      1
#define TYPE_NET_PORT	       2

#define EXECUTE	   (1ULL << 0)
#define WRITE_FILE (1ULL << 1)
#define READ_FILE  (1ULL << 2)
#define READ_DIR   (1ULL << 3)
/* Removing and making, of every kind. */
#define CHANGE_DIR (0x1ffULL << 4)
#define REFER	   (1ULL << 13)
#define TRUNCATE   (1ULL << 14)
#define IOCTL_DEV  (1ULL << 15)

#define BIND_TCP    (1ULL << 0)
#define CONNECT_TCP (1ULL << 1)
#define NET_VERSION 4

#define SCOPE_ABSTRACT_SOCKETS (1ULL << 0)
#define SCOPE_SIGNALS	       (1ULL << 1)
#define SCOPE_VERSION	       6

/* The rights that a rule can give for something other than a directory. */
#define OF_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

struct ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped;
};

struct net_port {
	uint64_t allowed_access;
	uint64_t port;
};

struct path_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

/* Returns the rights to files that this version of the interface knows. */
static uint64_t rights_of_version(long version)
{
	uint64_t rights = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | CHANGE_DIR;

	if (version >= 2)
		rights |= REFER;
	if (version >= 3)
		rights |= TRUNCATE;
	if (version >= 5)
		rights |= IOCTL_DEV;
	return rights;
}

static uint64_t rights_of_rule(const struct rule *rule)
{
	uint64_t rights = 0;

	if (rule->read)
		rights |= READ_FILE | READ_DIR;
	if (rule->write)
		rights |= WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV;
	if (rule->execute)
		rights |= EXECUTE;
	return rights;
}

static int add_rule(int ruleset, const struct rule *rule, uint64_t handled, struct err *err)
{
	struct path_beneath beneath = { .allowed_access = rights_of_rule(rule) & handled };
	OWNED_FD fd = sys_open(rule->path.data, O_PATH);
	long ret;

	if (fd < 0)
		return err_set_span(err, "open for landlock", rule->path, fd);
	beneath.parent_fd = fd;
	if (!is_directory(fd))
		beneath.allowed_access &= OF_FILES;
	ret = SYS4(SYS_landlock_add_rule, ruleset, TYPE_PATH_BENEATH, &beneath, 0);
	return ret < 0 ? err_set_span(err, "landlock_add_rule", rule->path, ret) : 0;
}

static uint64_t net_right(const struct rule *rule)
{
	return rule->kind == RULE_BIND ? BIND_TCP : CONNECT_TCP;
}

static int add_port(int ruleset, const struct rule *rule, struct err *err)
{
	const struct net_port port = { .allowed_access = net_right(rule),
				       .port = (uint64_t)rule->port };
	long ret;

	if (rule->port < 0)
		return 0;
	ret = SYS4(SYS_landlock_add_rule, ruleset, TYPE_NET_PORT, &port, 0);
	return ret < 0 ? err_set(err, "landlock_add_rule", "a TCP port", ret) : 0;
}

/* Returns what all rules together restrict. Without any rule, every path is restricted. */
static struct ruleset handled_by(struct span rules, long version)
{
	struct ruleset handled = { .handled_access_fs = rights_of_version(version) };
	struct rule rule;

	while (records_next_rule(&rules, &rule)) {
		if (rule.kind == RULE_NO_PATHS)
			handled.handled_access_fs = 0;
		if (rule.kind == RULE_BIND || rule.kind == RULE_CONNECT)
			handled.handled_access_net |= net_right(&rule);
		if (rule.kind == RULE_SCOPE)
			handled.scoped |= (rule.abstract_sockets ? SCOPE_ABSTRACT_SOCKETS : 0) |
					  (rule.signals ? SCOPE_SIGNALS : 0);
	}
	return handled;
}

/* Returns how much of the structure is used: a kernel that does not know the rest refuses it. */
static size_t size_of(const struct ruleset *handled)
{
	if (handled->scoped)
		return sizeof(*handled);
	return handled->handled_access_net ? offsetof(struct ruleset, scoped)
					   : offsetof(struct ruleset, handled_access_net);
}

/* Fails if the kernel cannot restrict all of that: a payload must not run with less restrictions
 * than its caller asked for. */
static long create_ruleset(const struct ruleset *handled, long version, struct err *err)
{
	long ret;

	if (handled->handled_access_net && version < NET_VERSION)
		return err_set(err, "landlock_create_ruleset", "TCP ports", EOPNOTSUPP);
	if (handled->scoped && version < SCOPE_VERSION)
		return err_set(err, "landlock_create_ruleset", "scopes", EOPNOTSUPP);
	ret = SYS3(SYS_landlock_create_ruleset, handled, size_of(handled), 0);
	return ret < 0 ? err_set(err, "landlock_create_ruleset", "", ret) : ret;
}

static int add_rules(int ruleset, struct span rules, uint64_t handled_fs, struct err *err)
{
	struct rule rule;
	int result = 0;

	while (result == 0 && records_next_rule(&rules, &rule)) {
		if (rule.kind == RULE_PATH)
			result = add_rule(ruleset, &rule, handled_fs, err);
		else if (rule.kind == RULE_BIND || rule.kind == RULE_CONNECT)
			result = add_port(ruleset, &rule, err);
	}
	return result;
}

int landlock_prepare(struct span rules, int *prepared, struct err *err)
{
	struct ruleset handled;
	OWNED_FD fd = -1;
	long version;

	*prepared = -1;
	if (!rules.data)
		return 0;
	version = SYS3(SYS_landlock_create_ruleset, 0, 0, CREATE_RULESET_VERSION);
	if (version < 0)
		return err_set(err, "landlock_create_ruleset", "", version);
	handled = handled_by(rules, version);
	fd = (int)create_ruleset(&handled, version, err);
	if (fd < 0 || add_rules(fd, rules, handled.handled_access_fs, err) < 0)
		return -1;
	*prepared = descriptor_give(&fd);
	return 0;
}

int landlock_restrict(int prepared, struct err *err)
{
	OWNED_FD fd = prepared;
	long ret;

	if (fd < 0)
		return 0;
	ret = SYS2(SYS_landlock_restrict_self, fd, 0);
	return ret < 0 ? err_set(err, "landlock_restrict_self", "", ret) : 0;
}
