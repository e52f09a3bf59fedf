/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/report.h"

#include <unistd.h>

#include "base/sys.h"

/* PIPE_BUF: lines do not mix, however many stages write at the same time (pipe(7)). A struct err
 * fits in a line, even if each of its bytes is escaped. */
#define LINE_MAX_BYTES 4096

static long write_line(int fd, struct text *line)
{
	text_add(line, "}\n");
	return sys_write(fd, line->data, line->len);
}

static void add_field(struct text *line, const char *key, const char *value)
{
	text_add(line, line->len ? ",\"" : "{\"");
	text_add(line, key);
	text_add(line, "\":\"");
	text_add_json(line, value);
	text_add(line, "\"");
}

static void add_number(struct text *line, const char *key, int64_t value)
{
	text_add(line, ",\"");
	text_add(line, key);
	text_add(line, "\":");
	text_add_number(line, value);
}

void report_log(const struct report *report, enum log_level level, const char *msg)
{
	static const char *const names[] = {
		[LOG_LEVEL_FATAL] = "fatal",	 [LOG_LEVEL_ERROR] = "error",
		[LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_INFO] = "info",
		[LOG_LEVEL_DEBUG] = "debug",
	};
	char buf[LINE_MAX_BYTES];
	struct text line = TEXT_IN(buf);

	if (report->log_fd < 0 || (int)level > report->log_level)
		return;
	add_field(&line, "level", names[level]);
	add_field(&line, "msg", msg);
	write_line(report->log_fd, &line);
}

/* Names of the numbers that are likely: strerror(3) is libc's. */
static const struct {
	int number;
	const char *name;
} names[] = {
#define NAMED(number)                                                                              \
	{                                                                                          \
		number, #number                                                                    \
	}
	NAMED(EPERM),	  NAMED(ENOENT),       NAMED(ESRCH),   NAMED(EINTR),   NAMED(EIO),
	NAMED(E2BIG),	  NAMED(ENOEXEC),      NAMED(EBADF),   NAMED(EAGAIN),  NAMED(ENOMEM),
	NAMED(EACCES),	  NAMED(EBUSY),	       NAMED(ENOTDIR), NAMED(EISDIR),  NAMED(EINVAL),
	NAMED(EMFILE),	  NAMED(ENFILE),       NAMED(ENOSPC),  NAMED(EROFS),   NAMED(EPIPE),
	NAMED(ENOSYS),	  NAMED(ELOOP),	       NAMED(EPROTO),  NAMED(EBADMSG), NAMED(EUSERS),
	NAMED(ETIMEDOUT), NAMED(ENAMETOOLONG),
#undef NAMED
};

static void add_errno(struct text *t, int number)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].number == number) {
			text_add(t, names[i].name);
			return;
		}
	}
	text_add(t, "errno ");
	text_add_number(t, number);
}

/* Describe an error: "nsexec[child]: setns net:/proc/1/ns/net: EPERM". */
static const char *describe(const struct report *report, const struct err *err, struct text *t)
{
	text_add(t, "nsexec[");
	text_add(t, report->stage);
	text_add(t, "]: ");
	text_add(t, err->operation);
	text_add(t, " ");
	text_add(t, err->subject);
	if (err->errnum) {
		text_add(t, ": ");
		add_errno(t, err->errnum);
	}
	return text_end(t);
}

static void send_record(const struct report *report, const struct err *err)
{
	char buf[LINE_MAX_BYTES];
	struct text line = TEXT_IN(buf);

	add_field(&line, "type", "error");
	add_field(&line, "stage", report->stage);
	add_field(&line, "operation", err->operation);
	add_field(&line, "subject", err->subject);
	add_number(&line, "errno", err->errnum);
	write_line(report->status_fd, &line);
}

void report_error(const struct report *report, const struct err *err)
{
	char buf[ERR_SUBJECT_MAX + 128];
	struct text msg = TEXT_IN(buf);
	const char *said = describe(report, err, &msg);

	report_log(report, LOG_LEVEL_FATAL, said);
	if (report->status_fd >= 0) {
		send_record(report, err);
	} else if (report->log_fd < 0) {
		sys_write(STDERR_FILENO, said, msg.len);
		sys_write(STDERR_FILENO, "\n", 1);
	}
}

int report_ready(const struct report *report, struct err *err)
{
	char buf[64];
	struct text line = TEXT_IN(buf);
	long ret;

	if (report->status_fd < 0)
		return 0;
	add_field(&line, "type", "ready");
	ret = write_line(report->status_fd, &line);
	return ret < 0 ? err_set(err, "write", "the status pipe: the launcher is gone", ret) : 0;
}

void report_trace(const struct report *report, const char *point)
{
	char buf[256];
	char msg_buf[64];
	struct text line = TEXT_IN(buf);
	struct text msg = TEXT_IN(msg_buf);

	text_add(&msg, "nsexec[");
	text_add(&msg, report->stage);
	text_add(&msg, "]: ");
	text_add(&msg, point);
	report_log(report, LOG_LEVEL_DEBUG, text_end(&msg));
	if (!report->trace)
		return;
	add_field(&line, "type", "trace");
	add_field(&line, "stage", report->stage);
	add_field(&line, "point", point);
	/* A time namespace changes the monotonic clocks, and not this one. */
	add_number(&line, "ns", sys_clock_ns(CLOCK_REALTIME));
	write_line(report->status_fd, &line);
}
