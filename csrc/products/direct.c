/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stages exist to join namespaces, and to write id maps from outside. A program that is only in
 * new namespaces needs neither: the spawned child is cloned into them, takes the confinement steps,
 * and executes the program. That saves two processes and a dozen messages.
 *
 * Until it executes, the child shares the caller's memory. That memory must not become accessible
 * to another user, so this way is taken only if:
 *
 * - no namespace is joined: nobody but the child is in a new one;
 * - all ids that the child has on the host stay those of the caller: a change would make the shared
 *   memory undumpable for good, or let another user look into it;
 * - no filter of system calls can kill the child: before Linux 5.16, a process that dumps core
 * takes with it every process that has the same memory.
 *
 * An unprivileged caller maps its own id alone, by a line that the child may write itself. For
 * root, the calling thread writes the maps while the child waits.
 *
 * Since Linux 6.3, an execve(2) enters the time namespace that was unshared. Before, only a new
 * process did.
 */
#include "products/direct.h"

#include <sys/utsname.h>

#include "base/descriptor.h"
#include "message/bootstrap.h"
#include "message/idmap.h"
#include "message/launch.h"
#include "inside/confinement.h"
#include "stages/become_root.h"
#include "stages/write_maps.h"

struct request {
	struct bootstrap boot;
	struct launch launch;
};

#define TIME_BY_EXEC_MAJOR 6
#define TIME_BY_EXEC_MINOR 3

/* Returns whether the kernel's release, such as "6.12.3-arch1", is at least 6.3. */
static bool enters_time_by_exec(void)
{
	struct utsname name;
	struct span rest, word;
	uint64_t major, minor;

	if (SYS1(SYS_uname, &name) < 0)
		return false;
	rest = span_of(name.release);
	if (!span_next(&rest, '.', &word) || !parse_decimal(word, UINT32_MAX, &major))
		return false;
	word = (struct span){ rest.data, 0 };
	while (word.len < rest.len && rest.data[word.len] >= '0' && rest.data[word.len] <= '9')
		word.len++;
	return parse_decimal(word, UINT32_MAX, &minor) &&
	       (major > TIME_BY_EXEC_MAJOR ||
		(major == TIME_BY_EXEC_MAJOR && minor >= TIME_BY_EXEC_MINOR));
}

/* Returns whether the real, effective and saved id, which `call` gives, are the same. */
static bool same_ids(long call, uint32_t *id)
{
	uint32_t ids[3] = { 0 };

	if (SYS3(call, &ids[0], &ids[1], &ids[2]) < 0)
		return false;
	*id = ids[0];
	return ids[0] == ids[1] && ids[1] == ids[2];
}

/* Returns whether a map has one line, for the id that the caller has. */
static bool maps_own_id_only(struct span map, uint32_t id)
{
	struct idmap only;
	struct span line;

	return span_ended(&map, '\n', &line) && map.len == 0 && !idmap_parse_line(line, &only) &&
	       only.size == 1 && only.host == id;
}

/* Returns whether root in the new user namespace is the caller, who is root. */
static bool maps_root_to_itself(struct span map)
{
	struct idmap row;
	struct span line;

	while (span_ended(&map, '\n', &line))
		if (!idmap_parse_line(line, &row) && row.container == 0)
			return row.host == 0;
	return false;
}

/* Returns whether the child keeps the caller's ids on the host. */
static bool keeps_ids(const struct bootstrap *boot)
{
	uint32_t uid, gid;

	if (!same_ids(SYS_getresuid, &uid) || !same_ids(SYS_getresgid, &gid))
		return false;
	if (!(boot->cloneflags & CLONE_NEWUSER))
		return uid != 0 || gid == 0;
	if (!boot->rootless_euid)
		return uid == 0 && gid == 0 && maps_root_to_itself(boot->uidmap) &&
		       maps_root_to_itself(boot->gidmap);
	return !boot->setgroup && maps_own_id_only(boot->uidmap, uid) &&
	       maps_own_id_only(boot->gidmap, gid) && sys_prctl(PR_GET_DUMPABLE, 0) == DUMPABLE;
}

static bool is_direct(const struct request *request)
{
	return request->boot.join.count == 0 &&
	       (!(request->boot.cloneflags & CLONE_NEWTIME) || enters_time_by_exec()) &&
	       !request->boot.oom_score_adj.data && !launch_takes_stages(&request->launch) &&
	       keeps_ids(&request->boot);
}

static bool maps_itself(const struct bootstrap *boot)
{
	return (boot->cloneflags & CLONE_NEWUSER) && boot->rootless_euid;
}

static int write_maps(const struct spawn *spawn, int pid, struct err *err)
{
	const struct request *request = spawn->context;

	return maps_write(&request->boot, pid, -1, request->launch.timeout_ms, err);
}

static int enter_time(const struct bootstrap *boot, struct err *err)
{
	static const char path[] = "/proc/self/timens_offsets";
	OWNED_FD fd = -1;
	long ret;

	if (namespaces_unshare(boot->cloneflags & CLONE_NEWTIME, err) < 0)
		return -1;
	if (!boot->timens_offsets.data)
		return 0;
	fd = sys_open(path, O_WRONLY);
	if (fd < 0)
		return err_set(err, "open", path, fd);
	ret = sys_write(fd, boot->timens_offsets.data, boot->timens_offsets.len);
	return ret < 0 ? err_set_span(err, "write timens_offsets", boot->timens_offsets, ret) : 0;
}

/* What the child does first, in its new namespaces. */
static int enter(const struct spawn *spawn, struct err *err)
{
	const struct request *request = spawn->context;

	if (maps_itself(&request->boot) && maps_write_own(&request->boot, err) < 0)
		return -1;
	if (enter_time(&request->boot, err) < 0)
		return -1;
	if (lead_session(request->launch.keep_session, err) < 0 ||
	    gain_root(&request->boot, BY_OUR_LAUNCHER, err) < 0)
		return -1;
	return confinement_prepare(&request->launch, err);
}

static int confine(const struct spawn *spawn, struct err *err)
{
	const struct request *request = spawn->context;

	return confinement_begin(&request->launch, err);
}

int direct_launch(struct spawn *spawn, struct span bootstrap, struct span launch, int *pidfd)
{
	struct request request;
	struct wire_error wire;
	int pid;

	if (!bootstrap_parse((const uint8_t *)bootstrap.data, bootstrap.len, &request.boot,
			     &wire) ||
	    !launch_parse((const uint8_t *)launch.data, launch.len, &request.launch, &wire) ||
	    !is_direct(&request))
		return DIRECT_DECLINED;
	spawn->inside = enter;
	if ((request.boot.cloneflags & CLONE_NEWUSER) && !maps_itself(&request.boot))
		spawn->outside = write_maps;
	spawn->last = confinement_is_asked(&request.launch) ? confine : NULL;
	spawn->dies_with_caller = request.launch.die_with_parent;
	spawn->context = &request;
	spawn->clone_flags = request.boot.cloneflags & ~(uint32_t)(CLONE_NEWCGROUP | CLONE_NEWTIME);
	pid = spawn_process(spawn, pidfd);
	/* A root without its capabilities regains them by executing nsinit. */
	if (pid < 0 && !spawn->executing && spawn->err.errnum == EPERM && SYS0(SYS_geteuid) == 0)
		return DIRECT_DECLINED;
	return pid;
}
