/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/seccomp.h"

#include <linux/seccomp.h>

#include "base/descriptor.h"
#include "base/fallback.h"

/* Once all of the message is sent, nothing more may be: an agent may close its end as soon as it
 * has read the message. */
long seccomp_send_listener(int socket, struct span message, int listener)
{
	union {
		struct cmsghdr header;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
				  .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	size_t size = sizeof(control.room);

	*(int *)(void *)CMSG_DATA(&control.header) = listener;
	while (message.len) {
		struct iovec part = { (char *)(uintptr_t)message.data, message.len };
		const struct msghdr header = {
			.msg_iov = &part,
			.msg_iovlen = 1,
			.msg_control = size ? control.room : NULL,
			.msg_controllen = size,
		};
		long n = SYS3(SYS_sendmsg, socket, &header, MSG_NOSIGNAL);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return n;
		message.data += n;
		message.len -= (size_t)n;
		size = 0;
	}
	return 0;
}

/* The payload must not have the listener: it would answer for the kernel itself. */
static int give_listener(int socket, int number, struct err *err)
{
	OWNED_FD listener = number;
	OWNED_FD agent = socket;
	long ret = seccomp_send_listener(agent, span_of("l"), listener);

	return ret < 0 ? err_set(err, "sendmsg", "the listener of the filter", ret) : 0;
}

int seccomp_install(const struct launch *launch, struct err *err)
{
	const struct sock_fprog program = {
		.len = (unsigned short)(launch->seccomp.len / sizeof(struct sock_filter)),
		.filter = (struct sock_filter *)(uintptr_t)launch->seccomp.data,
	};
	unsigned flags = launch->seccomp_flags;
	long ret;

	if (!launch->seccomp.data)
		return 0;
	if (launch->listener_fd >= 0)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	ret = fallback_set_filter(&program, flags);
	if (ret < 0)
		return err_set(err, "seccomp", "the filter", ret);
	return launch->listener_fd < 0 ? 0 : give_listener(launch->listener_fd, (int)ret, err);
}
