# SPDX-License-Identifier: Apache-2.0
"""Bring up the loopback device of a new network namespace, and receive devices of the caller.

The kernel takes as long to bring the loopback device up as half of the container's root takes to
make. A socket belongs to the namespace in which it was created. So the init creates a socket, and
the parent, which has time, uses it.
"""

from __future__ import annotations

import sys

from libcontainer.init import sync
from nsenter._host.cleanup import close
from nsenter._host.syscalls import SYS_socket, call, ioctl

_AF_UNIX = 1
_AF_NETLINK = 16
_SOCK_RAW_CLOEXEC = 3 | 0o2000000
_SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ_SIZE = 40
_FLAGS_AT = 16  # behind ifr_name


def ask_for_loopback(channel: int) -> None:
    """Ask the parent to bring up the loopback device: the init's part.

    The parent answers later messages on the channel only after the device is up.
    """
    fd = call("socket", "AF_UNIX", SYS_socket, _AF_UNIX, _SOCK_DGRAM_CLOEXEC, 0)
    try:
        sync.send(channel, sync.Loopback(fd))
    finally:
        close(fd)


def ask_for_devices(channel: int) -> None:
    """Ask the parent for network devices: the init's part of libcontainer.net_devices.

    The devices are there when the parent answers a later message on the channel.
    """
    fd = call("socket", "AF_NETLINK", SYS_socket, _AF_NETLINK, _SOCK_RAW_CLOEXEC, 0)
    try:
        sync.send(channel, sync.Devices(fd))
    finally:
        close(fd)


def bring_loopback_up(socket: int) -> None:
    """Set IFF_UP on "lo" (netdevice(7)): the parent's part.

    Raises:
        Failure: the kernel refuses it.
    """
    request = bytearray(b"lo".ljust(_IFREQ_SIZE, b"\0"))
    ioctl(socket, "SIOCGIFFLAGS lo", _SIOCGIFFLAGS, request)
    flags = int.from_bytes(request[_FLAGS_AT : _FLAGS_AT + 2], sys.byteorder)
    request[_FLAGS_AT : _FLAGS_AT + 2] = (flags | _IFF_UP).to_bytes(2, sys.byteorder)
    ioctl(socket, "SIOCSIFFLAGS lo", _SIOCSIFFLAGS, request)
