# SPDX-License-Identifier: Apache-2.0
"""Addresses of unix(7) sockets whose path is longer than an address has room for."""

from __future__ import annotations

import _socket
import posix
import sys

from nsenter._host.cleanup import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

__all__ = ["connect_to"]

_LONGEST = 107  # struct sockaddr_un has room for 108 bytes, the NUL included
_O_PATH = 0o10000000
# struct timeval
_PATIENCE = (10).to_bytes(8, sys.byteorder) + bytes(8)


def connect_to(connection: socket, path: str) -> None:
    """Connect to who listens at a path, or, where it begins with a NUL, at an abstract address.

    A path that is too long for an address is reached by a descriptor of the socket's file. From
    here on, neither this nor what is sent waits for more than ten seconds.

    Raises:
        OSError: nobody listens there, or who does takes nobody on.
    """
    connection.setsockopt(_socket.SOL_SOCKET, _socket.SO_SNDTIMEO, _PATIENCE)
    if path.startswith("\0") or len(path.encode("utf-8", "surrogateescape")) <= _LONGEST:
        connection.connect(path)
        return
    fd = posix.open(path, _O_PATH | posix.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}")
    finally:
        close(fd)
