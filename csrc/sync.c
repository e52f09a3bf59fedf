/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

struct sync_message {
	uint32_t kind;
	int32_t value;
};

int sync_pair(int fds[2], struct err *err)
{
	long ret = SYS4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);

	return ret < 0 ? err_set(err, "socketpair", "between the stages", ret) : 0;
}

/* EPIPE whatever the kernel says of a peer that is gone: readers of the error know by it that
 * somebody else has the real reason. */
static int gone(const char *peer, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, peer);
	text_add(&t, " ended early");
	return err_set(err, "sync", text_end(&t), EPIPE);
}

int sync_send(int fd, enum sync_kind kind, int value, const char *peer, struct err *err)
{
	struct sync_message message = { kind, value };
	long n;

	do
		n = SYS6(SYS_sendto, fd, &message, sizeof(message), MSG_NOSIGNAL, 0, 0);
	while (n == -EINTR);
	return n == sizeof(message) ? 0 : gone(peer, err);
}

int sync_read(int fd, enum sync_kind *kind, int *value, const char *peer, struct err *err)
{
	struct sync_message message;
	long n = sys_read(fd, &message, sizeof(message));

	if (n != sizeof(message))
		return gone(peer, err);
	*kind = message.kind;
	*value = message.value;
	return 0;
}

int sync_wait(int fd, enum sync_kind kind, int *value, const char *peer, struct err *err)
{
	enum sync_kind got = 0;

	if (sync_read(fd, &got, value, peer, err) < 0)
		return -1;
	return got == kind ? 0 : err_set(err, "sync", "a message out of turn", EPROTO);
}
