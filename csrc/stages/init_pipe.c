/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/init_pipe.h"

#include "base/sys.h"
#include "stages/sync.h"

#define PATIENCE_MS 50

/* Send bytes up the init pipe, and a descriptor with them unless that is -1. */
static long send_up(int init_fd, struct span bytes, int fd)
{
	long n = sync_send_bytes(init_fd, bytes, fd);

	/* Not every parent uses a socket. */
	return n == -ENOTSOCK ? sys_write(init_fd, bytes.data, bytes.len) : n;
}

int init_pipe_reply(const struct nsexec *ns, int pid1, int pid2, int pidfd, struct err *err)
{
	char buf[64];
	struct text t = TEXT_IN(buf);
	long n;

	text_add(&t, "{\"stage1_pid\":");
	text_add_number(&t, pid1);
	text_add(&t, ",\"stage2_pid\":");
	text_add_number(&t, pid2);
	text_add(&t, "}\n");
	n = send_up(ns->init_fd, (struct span){ buf, t.len }, ns->launched ? pidfd : -1);
	if (n < 0)
		return err_set(err, "write", "the pids to the init pipe", n);
	report_trace(&ns->report, "replied");
	return 0;
}

/* runc from 1.2 on writes its message at once; up to 1.1 it waits for a byte of ours. Some parents
 * of 1.2, such as its tests, do not say so in the environment. */
static bool writes_at_once(const struct nsexec *ns)
{
	const struct timespec patience = { .tv_nsec = PATIENCE_MS * 1000000L };
	struct pollfd come = { .fd = ns->init_fd, .events = POLLIN };

	return !ns->launched && (ns->is_1_2 || SYS5(SYS_ppoll, &come, 1, &patience, 0, 0) > 0);
}

int init_pipe_hello(struct nsexec *ns, struct err *err)
{
	long n;

	ns->is_1_2 = ns->launched || writes_at_once(ns);
	if (ns->is_1_2 && !ns->launched)
		return 0;
	n = send_up(ns->init_fd, (struct span){ "", 1 }, -1);
	return n < 0 ? err_set(err, "write", "the init pipe", n) : 0;
}

static const char *name_of(const struct wire_message *message, uint16_t attr)
{
	const struct wire_spec *spec = wire_spec(message, attr);

	if (attr == 0)
		return "none (the header)";
	return spec ? spec->name : "unknown";
}

static int fail_wire(struct err *err, const struct wire_message *message,
		     const struct wire_error *wire)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, "attribute ");
	text_add(&t, name_of(message, wire->attr));
	if (wire->attr) {
		text_add(&t, " (");
		text_add_number(&t, wire->attr);
		text_add(&t, ")");
	}
	text_add(&t, " at offset ");
	text_add_number(&t, wire->offset);
	text_add(&t, ": ");
	text_add(&t, wire->reason);
	return err_set(err, "parse the bootstrap message:", text_end(&t), EBADMSG);
}

/* Read exactly `len` bytes, in however many pieces they come. */
static int read_all(int fd, uint8_t *data, size_t len, size_t offset, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);
	size_t got = 0;
	long n = 0;

	while (got < len && (n = sys_read(fd, data + got, len - got)) > 0)
		got += (size_t)n;
	if (got == len)
		return 0;
	text_add(&t, "the init pipe at offset ");
	text_add_number(&t, (int64_t)(offset + got));
	if (n == 0)
		text_add(&t, ": it was closed before the message was whole");
	return err_set(err, "read", text_end(&t), n < 0 ? n : EBADMSG);
}

/* Read a whole message into memory of its own, which stays: what is parsed points into it. */
static uint8_t *read_message(const struct nsexec *ns, const struct wire_message *message,
			     uint32_t *size, struct err *err)
{
	uint8_t header[WIRE_HEADER_SIZE] = { 0 };
	struct wire_error wire;
	uint8_t *data;
	long mapped;

	if (read_all(ns->init_fd, header, sizeof(header), 0, err) < 0)
		return NULL;
	if (!wire_header(message, header, size, &wire)) {
		fail_wire(err, message, &wire);
		return NULL;
	}
	mapped = sys_map_memory(*size);
	if (sys_is_error(mapped)) {
		err_set(err, "mmap", "room for the message", mapped);
		return NULL;
	}
	data = (uint8_t *)mapped;
	for (size_t i = 0; i < sizeof(header); i++)
		data[i] = header[i];
	if (read_all(ns->init_fd, data + sizeof(header), *size - sizeof(header), sizeof(header),
		     err) < 0)
		return NULL;
	return data;
}

int init_pipe_receive(struct nsexec *ns, struct err *err)
{
	struct wire_error wire;
	uint32_t size;
	const struct wire_message *message =
		ns->is_1_2 ? &bootstrap_message : &bootstrap_message_1_1;
	uint8_t *data = read_message(ns, message, &size, err);

	if (!data)
		return -1;
	if (!(ns->is_1_2 ? bootstrap_parse : bootstrap_parse_1_1)(data, size, &ns->boot, &wire))
		return fail_wire(err, message, &wire);
	ns->launch = launch_defaults();
	if (!ns->launched)
		return 0;
	data = read_message(ns, &launch_message, &size, err);
	if (!data)
		return -1;
	if (!launch_parse(data, size, &ns->launch, &wire))
		return fail_wire(err, &launch_message, &wire);
	ns->report.trace = ns->launch.trace;
	return 0;
}
