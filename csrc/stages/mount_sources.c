/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/mount_sources.h"

#include <limits.h>

#include "base/descriptor.h"
#include "base/proc.h"
#include "stages/sync.h"

/* Take the next descriptor's number off a list such as "[-1,7]"; sets `wrong` if it is no such
 * list. */
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

/* Take the next source that is not empty off the list; returns false if there is none. */
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

/* Give a descriptor the number `place`. */
static int put(int received, int place, struct err *err)
{
	OWNED_FD source = received;
	long ret;

	if (source == place) {
		descriptor_give(&source);
		return 0;
	}
	ret = SYS3(SYS_dup3, source, place, O_CLOEXEC);
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
	if (sync_send(sync_fd, SYNC_SOURCES, NO_VALUE, peer, err) < 0)
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
	const char *path = proc_path(&t, pid, "ns/mnt");
	OWNED_FD fd = sys_open(path, O_RDONLY);
	long ret;

	if (fd < 0)
		return err_set(err, "open", path, fd);
	ret = SYS2(SYS_setns, fd, CLONE_NEWNS);
	return ret < 0 ? err_set(err, "setns", path, ret) : 0;
}

static int send_each(const struct nsexec *ns, int sync_fd, const char *peer, struct err *err)
{
	struct span sources = ns->boot.mount_sources;
	struct span path;

	while (next_source(&sources, &path)) {
		OWNED_FD fd = sys_open(path.data, O_PATH); /* the span has a NUL behind it */

		if (fd < 0)
			return err_set_span(err, "open the mount source", path, fd);
		if (sync_send_source(sync_fd, fd, peer, err) < 0)
			return -1;
	}
	return 0;
}

int mount_sources_send(const struct nsexec *ns, int pid1, int sync_fd, const char *peer,
		       struct err *err)
{
	OWNED_FD home = sys_open("/proc/self/ns/mnt", O_RDONLY);
	int result;

	if (home < 0)
		return err_set(err, "open", "/proc/self/ns/mnt", home);
	result = enter_mounts(pid1, err);
	if (result == 0)
		result = send_each(ns, sync_fd, peer, err);
	/* It does no harm if this fails: stage 0 opens nothing by a path from here on. */
	SYS2(SYS_setns, home, CLONE_NEWNS);
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
		sys_inherit(place);
}
