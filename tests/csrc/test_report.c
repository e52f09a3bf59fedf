/* A line is one write of at most PIPE_BUF bytes, whatever is in it. */
#include "stages/report.h"

#include <limits.h>
#include <unistd.h>

#include "check.h"
#include "base/sys.h"

static size_t read_once(int fd, char *buf, size_t cap)
{
	ssize_t n = read(fd, buf, cap - 1);

	CHECK(n > 0);
	buf[n] = '\0';
	return (size_t)n;
}

static void the_longest_error_is_one_whole_line(void)
{
	struct report report = { .log_fd = -1, .log_level = LOG_LEVEL_DEBUG, .stage = "child" };
	struct err err;
	char subject[4096];
	char buf[2 * PIPE_BUF];
	int fds[2];
	size_t n;

	CHECK(pipe(fds) == 0);
	report.status_fd = fds[1];
	report.log_fd = fds[1];
	memset(subject, '\1', sizeof(subject));
	CHECK(err_set_span(&err, "setns", (struct span){ subject, sizeof(subject) }, -EPERM) == -1);
	CHECK(err.errnum == EPERM);
	report_error(&report, &err);
	n = read_once(fds[0], buf, sizeof(buf));
	CHECK(n <= 2 * PIPE_BUF && buf[n - 1] == '\n' && buf[n - 2] == '}');
	close(fds[0]);
	close(fds[1]);
}

static void a_log_line_has_level_and_msg(void)
{
	struct report report = { .status_fd = -1, .log_level = LOG_LEVEL_INFO, .stage = "init" };
	char buf[PIPE_BUF];
	int fds[2];

	CHECK(pipe(fds) == 0);
	report.log_fd = fds[1];
	report_log(&report, LOG_LEVEL_DEBUG, "too fine");
	report_log(&report, LOG_LEVEL_WARNING, "a \"quote\"");
	read_once(fds[0], buf, sizeof(buf));
	CHECK_TEXT(buf, "{\"level\":\"warning\",\"msg\":\"a \\\"quote\\\"\"}\n");
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	the_longest_error_is_one_whole_line();
	a_log_line_has_level_and_msg();
	return 0;
}
