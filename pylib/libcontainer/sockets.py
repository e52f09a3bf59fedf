# SPDX-License-Identifier: Apache-2.0
"""Sockets on which an engine listens, for the terminal or the pidfd of a process."""

from __future__ import annotations

import _socket

from libcontainer.errors import ContainerError
from libcontainer.runc_messages import errno_text
from nsenter._host.cleanup import close
from nsenter._host.socket_addresses import connect_to
from nsenter._host.syscalls import send_fds

__all__ = ["connected", "send_pidfd"]


def connected(path: str) -> int:
    """Return a descriptor of a socket that is connected to the one at a path.

    Raises:
        ContainerError: no process listens there.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0)
    try:
        connect_to(sock, path)
    except OSError as error:
        close(sock.detach())
        raise ContainerError(f"socket {path}: {errno_text(error.errno or 0)}") from None
    return sock.detach()


def send_pidfd(path: str, pidfd: int) -> None:
    """Send a pidfd to the socket at a path. For the errors, see `connected`."""
    fd = connected(path)
    try:
        send_fds(fd, b"pidfd", (pidfd,))
    finally:
        close(fd)
