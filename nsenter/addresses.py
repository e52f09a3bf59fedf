# SPDX-License-Identifier: Apache-2.0
"""Addresses of unix(7) sockets whose path is longer than an address has room for."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket

__all__ = ["connect_to"]

_LONGEST = 107  # struct sockaddr_un has room for 108 bytes, the NUL included
_O_PATH = 0o10000000


def connect_to(connection: socket, path: str) -> None:
    """Connect to who listens at a path, or, where it begins with a NUL, at an abstract address.

    A path that is too long for an address is reached by a descriptor of the socket's file.

    Raises:
        OSError: nobody listens there.
    """
    if path.startswith("\0") or len(path.encode("utf-8", "surrogateescape")) <= _LONGEST:
        connection.connect(path)
        return
    fd = posix.open(path, _O_PATH | posix.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{fd}")
    finally:
        posix.close(fd)
