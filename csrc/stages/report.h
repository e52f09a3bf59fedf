/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stages report: lines that are one JSON object each, and one write(2) each. The log pipe
 * gets log lines (`level` and `msg`, as runc's). The status pipe, which our own launcher reads,
 * gets errors and the times of the stages (`error` and `trace` records).
 */
#ifndef NSX_REPORT_H
#define NSX_REPORT_H

#include "base/err.h"

/* The numbers of _LIBCONTAINER_LOGLEVEL, which are logrus's. */
enum log_level {
	LOG_LEVEL_FATAL = 1,
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

struct report {
	int log_fd; /* -1: nobody reads a log; errors go to stderr, unless status_fd is set */
	int log_level;
	int status_fd; /* -1: the parent is not our launcher */
	bool trace;
	const char *stage; /* "parent", "child", "init" */
};

void report_log(const struct report *report, enum log_level level, const char *msg);
void report_error(const struct report *report, const struct err *err);
/* Report that the payload is about to take over: from now on, the end of the status pipe means
 * success. Returns -1 if our launcher is gone: a payload that nobody waits for must not start. */
int report_ready(const struct report *report, struct err *err);
/* Report that this stage has come to `point`. */
void report_trace(const struct report *report, const char *point);

#endif
