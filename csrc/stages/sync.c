/* SPDX-License-Identifier: Apache-2.0 */
#include "stages/sync.h"

struct sync_message {
	uint32_t kind;
	int32_t value;
};

int sync_pair(int fds[2], struct err *err)
{
	long ret = SYS4(SYS_socketpair, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);

	return ret < 0 ? err_set(err, "socketpair", "between the stages", ret) : 0;
}

/* Set the error of a peer that is gone. It is EPIPE, whatever the kernel says: the launcher knows
 * by that that the peer has reported the real reason. */
static int gone(const char *peer, struct err *err)
{
	char buf[ERR_SUBJECT_MAX];
	struct text t = TEXT_IN(buf);

	text_add(&t, peer);
	text_add(&t, " ended early");
	return err_set(err, "sync", text_end(&t), EPIPE);
}

union control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

long sync_send_bytes(int fd, struct span bytes, int descriptor)
{
	union control control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes.data, bytes.len };
	struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };
	long n;

	if (descriptor >= 0) {
		control.align = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		};
		*(int *)(void *)CMSG_DATA(&control.align) = descriptor;
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	do
		n = SYS3(SYS_sendmsg, fd, &message, MSG_NOSIGNAL);
	while (n == -EINTR);
	return n;
}

int sync_send_source(int fd, int source, const char *peer, struct err *err)
{
	const struct sync_message message = { SYNC_SOURCE, NO_VALUE };
	const struct span bytes = { (const char *)&message, sizeof(message) };

	return sync_send_bytes(fd, bytes, source) < 0 ? gone(peer, err) : 0;
}

int sync_wait_source(int fd, int *source, const char *peer, struct err *err)
{
	union control control = { 0 };
	struct sync_message got = { 0 };
	struct iovec iov = { &got, sizeof(got) };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control) };
	long n;

	do
		n = SYS3(SYS_recvmsg, fd, &message, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	if (n != sizeof(got))
		return gone(peer, err);
	if (message.msg_flags & MSG_CTRUNC)
		return err_set(err, "recvmsg", "the descriptor of a mount source", EMFILE);
	if (got.kind != SYNC_SOURCE || message.msg_controllen < CMSG_LEN(sizeof(int)) ||
	    control.align.cmsg_type != SCM_RIGHTS)
		return err_set(err, "sync", "a message out of turn", EPROTO);
	*source = *(int *)(void *)CMSG_DATA(&control.align);
	return 0;
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
