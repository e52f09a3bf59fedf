/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/network.h"

#include <linux/if.h>
#include <linux/sockios.h>

#include "base/descriptor.h"

int network_loopback_up(struct err *err)
{
	struct ifreq request = { .ifr_ifrn.ifrn_name = "lo" };
	/* Any socket will do (netdevice(7)); a kernel may have no IPv4. */
	OWNED_FD fd = (int)SYS3(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long ret;

	if (fd < 0)
		return err_set(err, "socket", "to take lo up", fd);
	ret = SYS3(SYS_ioctl, fd, SIOCGIFFLAGS, &request);
	if (ret == 0) {
		request.ifr_ifru.ifru_flags |= IFF_UP;
		ret = SYS3(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
	}
	return ret < 0 ? err_set(err, "ioctl SIOCSIFFLAGS", "lo", ret) : 0;
}
