/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/mount_sources.h"

#include <limits.h>

#include "stages/sync.h"

/* Take the next descriptor's number off a list such as "[-1,7]"; sets `wrong` if that is no list.
 */
static bool next_place(struct span *list, int *place, bool *wrong)
{
	struct span word;
	uint64_t number;

	while (span_next(list, ',', &word)) {
		if (word.len && word.data[0] == '[')
			word = (struct span){ word.data + 1, word.len - 1 };
		if (word.len && word.data[word.len - 1] == ']')
			word.len--;
		if (span_equals(word, "-1") || (word.len == 0 && list->len == 0))
			continue;
		if (!parse_decimal(word, INT_MAX, &number)) {
			*wrong = true;
			return false;
		}
		*place = (int)number;
		return true;
	}
	return false;
}

/* Take the next source that is not empty off the list; false if there is none. */
static bool next_source(struct span *list, struct span *path)
{
	while (span_ended(list, '\0', path))
		if (path->len)
			return true;
	return false;
}

static int fail(const struct nsexec *ns, struct err *err)
{
	return err_set_span(err, "find a place for each mount source in _LIBCONTAINER_MOUNT_FDS",
			    ns->mount_fds, EINVAL);
}

static int put(int source, int place, struct err *err)
{
	long ret = source == place ? 0 : SYS3(SYS_dup3, source, place, O_CLOEXEC);

	if (source != place)
		sys_close(source);
	return ret < 0 ? err_set(err, "dup3", "a mount source", ret) : 0;
}

int mount_sources_receive(const struct nsexec *ns, int sync_fd, const char *peer, struct err *err)
{
	struct span places = ns->mount_fds;
	struct span sources = ns->boot.mount_sources;
	struct span path;
	bool wrong = false;
	int place, source;

	if (!next_source(&sources, &path))
		return 0;
	if (sync_send(sync_fd, SYNC_SOURCES, 0, peer, err) < 0)
		return -1;
	do {
		if (!next_place(&places, &place, &wrong))
			return fail(ns, err);
		if (sync_wait_source(sync_fd, &source, peer, err) < 0 ||
		    put(source, place, err) < 0)
			return -1;
	} while (next_source(&sources, &path));
	return next_place(&places, &place, &wrong) || wrong ? fail(ns, err) : 0;
}

static int enter_mounts(int pid, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	long fd, ret;

	text_add(&t, "/proc/");
	text_add_number(&t, pid);
	text_add(&t, "/ns/mnt");
	fd = sys_open(text_end(&t), O_RDONLY);
	if (fd < 0)
		return err_set(err, "open", text_end(&t), fd);
	ret = SYS2(SYS_setns, fd, CLONE_NEWNS);
	sys_close((int)fd);
	return ret < 0 ? err_set(err, "setns", text_end(&t), ret) : 0;
}

static int send_each(const struct nsexec *ns, int sync_fd, const char *peer, struct err *err)
{
	struct span sources = ns->boot.mount_sources;
	struct span path;

	while (next_source(&sources, &path)) {
		/* It has a NUL behind it. */
		long fd = sys_open(path.data, O_PATH);
		int result;

		if (fd < 0)
			return err_set_span(err, "open the mount source", path, fd);
		result = sync_send_source(sync_fd, (int)fd, peer, err);
		sys_close((int)fd);
		if (result < 0)
			return -1;
	}
	return 0;
}

int mount_sources_send(const struct nsexec *ns, int pid1, int sync_fd, const char *peer,
		       struct err *err)
{
	long home = sys_open("/proc/self/ns/mnt", O_RDONLY);
	int result;

	if (home < 0)
		return err_set(err, "open", "/proc/self/ns/mnt", home);
	result = enter_mounts(pid1, err);
	if (result == 0)
		result = send_each(ns, sync_fd, peer, err);
	/* If this fails, it does no harm: stage 0 opens nothing by a path from here on. */
	SYS2(SYS_setns, home, CLONE_NEWNS);
	sys_close((int)home);
	return result;
}

void mount_sources_pass_on(const struct nsexec *ns)
{
	struct span places = ns->mount_fds;
	bool wrong = false;
	int place;

	if (!ns->boot.mount_sources.len)
		return;
	while (next_place(&places, &place, &wrong))
		SYS3(SYS_fcntl, place, F_SETFD, 0);
}
