/* SPDX-License-Identifier: Apache-2.0 */
/* What environment variables tell nsexec: the numbers of descriptors, as runc passes them. */
#include <limits.h>

#include "base/exec.h"
#include "stages/nsexec.h"

#define INITPIPE "_LIBCONTAINER_INITPIPE"
#define LOGPIPE	 "_LIBCONTAINER_LOGPIPE"
#define LOGLEVEL "_LIBCONTAINER_LOGLEVEL"
#define INITTYPE "_LIBCONTAINER_INITTYPE"
#define STATUS	 "_NSENTER_STATUS"
/* These are for the program that follows. runc sets the first from 1.2 on, the second up to 1.1. */
#define SYNCPIPE "_LIBCONTAINER_SYNCPIPE"
#define MOUNTFDS "_LIBCONTAINER_MOUNT_FDS"

bool nsexec_reads(const char *variable)
{
	static const char *const names[] = { INITPIPE, LOGPIPE, LOGLEVEL, INITTYPE, STATUS };
	char *const one[] = { (char *)(uintptr_t)variable, NULL };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (environment_get(one, names[i]))
			return true;
	return false;
}

static int fail(struct err *err, const char *name, const char *value, long ret)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, name);
	text_add(&t, "=");
	text_add(&t, value);
	return err_set(err, "use the environment:", text_end(&t), ret);
}

/* Read a descriptor's number from a variable, and make the descriptor close-on-exec. *fd stays as
 * it is if the variable is not set. */
static int get_fd(char *const *envp, const char *name, int *fd, struct err *err)
{
	const char *value = environment_get(envp, name);
	uint64_t n;
	long ret;

	if (!value)
		return 0;
	if (!parse_decimal(span_of(value), INT_MAX, &n))
		return fail(err, name, value, EINVAL);
	ret = SYS3(SYS_fcntl, n, F_SETFD, FD_CLOEXEC);
	if (ret < 0)
		return fail(err, name, value, ret);
	*fd = (int)n;
	return 0;
}

static int get_level(char *const *envp)
{
	const char *value = environment_get(envp, LOGLEVEL);
	uint64_t n;

	if (value && parse_decimal(span_of(value), INT_MAX, &n))
		return (int)n;
	return LOG_LEVEL_INFO;
}

bool nsexec_from_environment(struct nsexec *ns, char *const *envp, struct err *err)
{
	*ns = (struct nsexec){
		.init_fd = -1,
		.place = -1,
		.report = { .log_fd = -1, .status_fd = -1, .stage = "parent" },
	};
	ns->report.log_level = get_level(envp);
	/* The status pipe comes first, so that an error about the others can be reported on it. */
	if (get_fd(envp, STATUS, &ns->report.status_fd, err) < 0 ||
	    get_fd(envp, LOGPIPE, &ns->report.log_fd, err) < 0 ||
	    get_fd(envp, INITPIPE, &ns->init_fd, err) < 0)
		return false;
	ns->launched = ns->report.status_fd >= 0;
	ns->is_1_2 = environment_get(envp, SYNCPIPE) != NULL;
	ns->mount_fds.data = environment_get(envp, MOUNTFDS);
	ns->mount_fds.len = ns->mount_fds.data ? text_length(ns->mount_fds.data) : 0;
	if (ns->init_fd < 0) {
		err_set(err, "find", INITPIPE " in the environment", 0);
		return false;
	}
	return true;
}
