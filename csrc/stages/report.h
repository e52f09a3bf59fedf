/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is told to the outside, one JSON object a line, one write() each: log lines for whoever
 * reads the log pipe (`level` and `msg`, as runc's), and for our own launcher the errors and
 * the times of the stages (`error` and `trace` records on the status pipe).
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
	int log_fd; /* -1: nobody reads; then errors go to stderr unless status_fd is set */
	int log_level;
	int status_fd; /* -1: the parent is not our launcher */
	bool trace;
	const char *stage; /* "parent", "child", "init" */
};

void report_log(const struct report *report, enum log_level level, const char *msg);
void report_error(const struct report *report, const struct err *err);
/* The payload is about to take over: what ends the status pipe now is its success. -1 where our
 * launcher is gone; a payload that nobody waits for must not start. */
int report_ready(const struct report *report, struct err *err);
/* This stage has come to `point` now. */
void report_trace(const struct report *report, const char *point);

#endif
