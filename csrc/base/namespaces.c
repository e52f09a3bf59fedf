/* SPDX-License-Identifier: Apache-2.0 */
#include "base/namespaces.h"

#include <limits.h>

static const struct {
	uint32_t flag;
	const char *name;
} kinds[NAMESPACE_KINDS] = {
	{ CLONE_NEWUSER, "user" },     { CLONE_NEWIPC, "ipc" },	  { CLONE_NEWUTS, "uts" },
	{ CLONE_NEWNET, "net" },       { CLONE_NEWPID, "pid" },	  { CLONE_NEWNS, "mnt" },
	{ CLONE_NEWCGROUP, "cgroup" }, { CLONE_NEWTIME, "time" },
};

const char *namespace_name(uint32_t flag)
{
	for (size_t i = 0; i < NAMESPACE_KINDS; i++)
		if (kinds[i].flag == flag)
			return kinds[i].name;
	return "?";
}

static uint32_t flag_of(struct span name)
{
	for (size_t i = 0; i < NAMESPACE_KINDS; i++)
		if (span_equals(name, kinds[i].name))
			return kinds[i].flag;
	return 0;
}

uint32_t namespaces_flags(const struct namespace_list *list)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < list->count; i++)
		flags |= list->items[i].flag;
	return flags;
}

/* `rest` becomes the path: what follows the first colon. */
static const char *parse_item(struct span rest, struct namespace_list *list)
{
	struct span kind;
	uint32_t flag;

	if (!span_next(&rest, ':', &kind) || rest.len == 0)
		return "an entry is not `kind:path`";
	flag = flag_of(kind);
	if (!flag)
		return "an entry's kind is none of user, ipc, uts, net, pid, mnt, cgroup, time";
	if (flag & namespaces_flags(list))
		return "a kind of namespace stands twice";
	if (rest.data[0] != '/')
		return "a path is not absolute";
	list->items[list->count++] =
		(struct namespace_join){ .flag = flag, .path = rest, .fd = -1 };
	return NULL;
}

const char *namespaces_parse(struct span text, struct namespace_list *list, size_t *at)
{
	struct span rest = text;
	struct span item;
	const char *wrong;

	list->count = 0;
	*at = 0;
	if (text.len == 0 || text.data[text.len - 1] == ',')
		return "an entry is empty";
	while (span_next(&rest, ',', &item)) {
		*at = (size_t)(item.data - text.data);
		wrong = parse_item(item, list);
		if (wrong)
			return wrong;
	}
	return NULL;
}

/* Returns N if the path is /proc/self/fd/N, a descriptor of this process's own; else -1. */
static int borrowed_fd(struct span path)
{
	static const char prefix[] = "/proc/self/fd/";
	struct span head = { path.data, sizeof(prefix) - 1 };
	struct span digits = { path.data + sizeof(prefix) - 1, path.len - (sizeof(prefix) - 1) };
	uint64_t fd;

	if (path.len < sizeof(prefix) || !span_equals(head, prefix) ||
	    !parse_decimal(digits, INT_MAX, &fd))
		return -1;
	return (int)fd;
}

/* Describe a namespace in an error: "net:/proc/1/ns/net". */
static struct span describe(const struct namespace_join *ns, char *buf, size_t cap)
{
	struct text t = { .data = buf, .cap = cap };

	text_add(&t, namespace_name(ns->flag));
	text_add(&t, ":");
	text_add_span(&t, ns->path);
	return (struct span){ buf, t.len };
}

static int fail(struct err *err, const char *operation, const struct namespace_join *ns, long ret)
{
	char buf[ERR_SUBJECT_MAX];

	return err_set_span(err, operation, describe(ns, buf, sizeof(buf)), ret);
}

static int open_one(struct namespace_join *ns, struct err *err)
{
	char path[PATH_MAX];
	struct text t = TEXT_IN(path);

	ns->fd = borrowed_fd(ns->path);
	if (ns->fd >= 0) {
		ns->borrowed = true;
		return 0;
	}
	text_add_span(&t, ns->path);
	ns->fd = t.len == t.cap ? -ENAMETOOLONG : (int)sys_open(text_end(&t), O_RDONLY);
	if (ns->fd < 0)
		return fail(err, "open", ns, ns->fd);
	return 0;
}

int namespaces_open(struct namespace_list *list, struct err *err)
{
	for (size_t i = 0; i < list->count; i++)
		if (open_one(&list->items[i], err) < 0)
			return -1;
	return 0;
}

/* Returns the kinds of namespaces that this descriptor is of: a pidfd can be of several. */
static uint32_t flags_of_fd(const struct namespace_list *list, int fd)
{
	uint32_t flags = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].fd == fd)
			flags |= list->items[i].flag;
	return flags;
}

/* Join several namespaces by one call, which is four times faster than a call for each. If the
 * kernel refuses it, nothing has changed, and join_each() joins them one at a time. */
static void join_shared_fds(const struct namespace_list *list, uint32_t wanted, uint32_t *joined)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct namespace_join *ns = &list->items[i];
		uint32_t flags = flags_of_fd(list, ns->fd) & wanted & ~*joined;

		if ((flags & ns->flag) && flags != ns->flag && SYS2(SYS_setns, ns->fd, flags) == 0)
			*joined |= flags;
	}
}

/* Returns the kinds that are joined by the descriptor of the user namespace; 0 if none is
 * joined. */
static uint32_t flags_with_user(const struct namespace_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].flag == CLONE_NEWUSER)
			return flags_of_fd(list, list->items[i].fd);
	return 0;
}

static int join_each(const struct namespace_list *list, uint32_t wanted, uint32_t *joined,
		     struct err *err)
{
	int result = 0;

	for (size_t i = 0; i < list->count; i++) {
		const struct namespace_join *ns = &list->items[i];
		long ret;

		if (!(ns->flag & wanted & ~*joined))
			continue;
		ret = SYS2(SYS_setns, ns->fd, ns->flag);
		if (ret < 0)
			result = fail(err, "setns", ns, ret);
		else
			*joined |= ns->flag;
	}
	return result;
}

/* Close a descriptor at the next execve(2) if it is the caller's, and else now. The payload may
 * inherit one of the caller's: a later step then takes the flag away again. */
static void give_up(const struct namespace_join *ns)
{
	if (ns->borrowed)
		SYS3(SYS_fcntl, ns->fd, F_SETFD, FD_CLOEXEC);
	else
		sys_close(ns->fd);
}

static int become_root(struct err *err)
{
	long ret = SYS3(SYS_setresuid, 0, 0, 0);

	return ret < 0 ? err_set(err, "setresuid", "0 in the joined user namespace", ret) : 0;
}

/*
 * To join a namespace requires privileges in the user namespace that owns it. If the host's owns
 * it, it must be joined before the user namespace, because that takes the host's privileges away.
 * If the joined user namespace owns it, it must be joined afterwards. Who owns a namespace is not
 * known here. So all others are tried first; then the user namespace is joined, with those of the
 * same pidfd; then those that were refused are tried again.
 */
int namespaces_join(struct namespace_list *list, struct err *err)
{
	uint32_t all = namespaces_flags(list);
	uint32_t with_user = flags_with_user(list);
	uint32_t joined = 0;
	int result;

	join_shared_fds(list, all & ~with_user, &joined);
	result = join_each(list, all & ~with_user, &joined, err);
	if (with_user) {
		join_shared_fds(list, with_user, &joined);
		join_each(list, with_user & ~(uint32_t)CLONE_NEWUSER, &joined, err);
		if (join_each(list, CLONE_NEWUSER, &joined, err) < 0 || become_root(err) < 0)
			return -1;
		result = join_each(list, all, &joined, err);
	}
	if (result < 0)
		return -1;
	for (size_t i = 0; i < list->count; i++)
		give_up(&list->items[i]);
	return 0;
}

int namespaces_refused(uint32_t flags, const char *operation, long ret, struct err *err)
{
	char names[64];
	struct text t = TEXT_IN(names);

	for (size_t i = 0; i < NAMESPACE_KINDS; i++) {
		if (!(flags & kinds[i].flag))
			continue;
		if (t.len)
			text_add(&t, ",");
		text_add(&t, kinds[i].name);
	}
	return err_set(err, operation, text_end(&t), ret);
}

int namespaces_unshare(uint32_t flags, struct err *err)
{
	long ret = flags ? SYS1(SYS_unshare, flags) : 0;

	return ret < 0 ? namespaces_refused(flags, "unshare", ret, err) : 0;
}
