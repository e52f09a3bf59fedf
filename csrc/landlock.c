/* SPDX-License-Identifier: Apache-2.0 */
#include "landlock.h"

#include "mountapi.h"
#include "records.h"
#include "sys.h"

/* linux/landlock.h, of which the headers of a distribution have an older version. */
#define CREATE_RULESET_VERSION 1
#define RULE_PATH_BENEATH      1

#define EXECUTE	   (1ULL << 0)
#define WRITE_FILE (1ULL << 1)
#define READ_FILE  (1ULL << 2)
#define READ_DIR   (1ULL << 3)
/* Removing and making, of every kind. */
#define CHANGE_DIR (0x1ffULL << 4)
#define REFER	   (1ULL << 13)
#define TRUNCATE   (1ULL << 14)
#define IOCTL_DEV  (1ULL << 15)

/* What a rule on something other than a directory can be about. */
#define OF_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)

struct ruleset {
	uint64_t handled_access_fs;
};

struct path_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));

/* What each version of the interface has added. */
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
	long fd = sys_open(rule->path.data, O_PATH);
	long ret;

	if (fd < 0)
		return err_set_span(err, "open for landlock", rule->path, fd);
	beneath.parent_fd = (int)fd;
	if (!is_directory((int)fd))
		beneath.allowed_access &= OF_FILES;
	ret = SYS4(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &beneath, 0);
	sys_close((int)fd);
	return ret < 0 ? err_set_span(err, "landlock_add_rule", rule->path, ret) : 0;
}

int landlock_prepare(struct span rules, int *fd, struct err *err)
{
	struct ruleset ruleset;
	struct rule rule;
	long ret;

	*fd = -1;
	if (!rules.data)
		return 0;
	ret = SYS3(SYS_landlock_create_ruleset, 0, 0, CREATE_RULESET_VERSION);
	if (ret > 0) {
		ruleset.handled_access_fs = rights_of_version(ret);
		ret = SYS3(SYS_landlock_create_ruleset, &ruleset, sizeof(ruleset), 0);
	}
	if (ret < 0)
		return err_set(err, "landlock_create_ruleset", "", ret);
	*fd = (int)ret;
	while (records_next_rule(&rules, &rule))
		if (add_rule(*fd, &rule, ruleset.handled_access_fs, err) < 0)
			return -1;
	return 0;
}

int landlock_restrict(int fd, struct err *err)
{
	long ret;

	if (fd < 0)
		return 0;
	ret = SYS2(SYS_landlock_restrict_self, fd, 0);
	sys_close(fd);
	return ret < 0 ? err_set(err, "landlock_restrict_self", "", ret) : 0;
}
