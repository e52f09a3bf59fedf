# SPDX-License-Identifier: Apache-2.0
"""The loopback device of a new network namespace, which starts out down."""

from __future__ import annotations

import posix
import sys

from nsenter.system import SYS_socket, call, ioctl

_AF_UNIX = 1
_SOCK_DGRAM_CLOEXEC = 2 | 0o2000000
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1
_IFREQ_SIZE = 40
_FLAGS_AT = 16  # behind ifr_name


def bring_loopback_up() -> None:
    """Set IFF_UP on "lo" (netdevice(7))."""
    fd = call("socket", "AF_UNIX", SYS_socket, _AF_UNIX, _SOCK_DGRAM_CLOEXEC, 0)
    try:
        request = bytearray(b"lo".ljust(_IFREQ_SIZE, b"\0"))
        ioctl(fd, "SIOCGIFFLAGS lo", _SIOCGIFFLAGS, request)
        flags = int.from_bytes(request[_FLAGS_AT : _FLAGS_AT + 2], sys.byteorder)
        request[_FLAGS_AT : _FLAGS_AT + 2] = (flags | _IFF_UP).to_bytes(2, sys.byteorder)
        ioctl(fd, "SIOCSIFFLAGS lo", _SIOCSIFFLAGS, request)
    finally:
        posix.close(fd)
