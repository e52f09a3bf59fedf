/* SPDX-License-Identifier: Apache-2.0 */
#include "inside/network.h"

#include <linux/if.h>
#include <linux/sockios.h>

#include "base/sys.h"

int network_loopback_up(struct err *err)
{
	struct ifreq request = { .ifr_ifrn.ifrn_name = "lo" };
	/* netdevice(7): any socket will do, also where a kernel has no IPv4. */
	long fd = SYS3(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long ret;

	if (fd < 0)
		return err_set(err, "socket", "to take lo up", fd);
	ret = SYS3(SYS_ioctl, fd, SIOCGIFFLAGS, &request);
	if (ret == 0) {
		request.ifr_ifru.ifru_flags |= IFF_UP;
		ret = SYS3(SYS_ioctl, fd, SIOCSIFFLAGS, &request);
	}
	sys_close((int)fd);
	return ret < 0 ? err_set(err, "ioctl SIOCSIFFLAGS", "lo", ret) : 0;
}
