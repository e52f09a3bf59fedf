# SPDX-License-Identifier: Apache-2.0
"""The descriptors of a launch: lent to the stages, kept for the payload, and the two pipes."""

from __future__ import annotations

import _socket
import os

from nsenter.bootstrap import BootstrapData
from nsenter.kept import out_of_the_streams
from nsenter.namespaces import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Descriptors", "Pipes", "above_the_streams", "borrowed_fds", "checked_fds"]

_BORROWED = "/proc/self/fd/"


def borrowed_fds(data: BootstrapData) -> set[int]:
    """Descriptors that paths of the message name: of namespaces, or pidfds."""
    numbers = (
        ns.path.removeprefix(_BORROWED)
        for ns in data.namespace_paths
        if ns.path.startswith(_BORROWED)
    )
    return {int(n) for n in numbers if n.isdecimal()}


class Descriptors:
    """Descriptors that are closed together, the last first. As a context manager, at its end."""

    def __init__(self) -> None:
        self._owned: list[int] = []

    def add(self, fd: int) -> int:
        """Own a descriptor; returns it, moved out of 0 … 2 where the caller has those closed."""
        fd = out_of_the_streams(fd)
        self._owned.append(fd)
        return fd

    def numbers(self) -> set[int]:
        """All of them."""
        return set(self._owned)

    def close(self) -> None:
        """Close them."""
        while self._owned:
            os.close(self._owned.pop())

    def __enter__(self) -> Descriptors:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def above_the_streams(data: BootstrapData, owner: Descriptors) -> BootstrapData:
    """Borrowed descriptors that are 0, 1 or 2 here are others in the child."""
    low = borrowed_fds(data) & {0, 1, 2}
    moved = {f"{_BORROWED}{fd}": owner.add(os.dup(fd)) for fd in low}
    if not moved:
        return data
    paths = (
        Namespace.from_fd(ns.type, moved[ns.path]) if ns.path in moved else ns
        for ns in data.namespace_paths
    )
    return data.replace(namespace_paths=tuple(paths))


def checked_fds(pass_fds: Iterable[int]) -> set[int]:
    """Those to pass on; a descriptor that is not open is the caller's mistake, named here."""
    fds = set(pass_fds)
    for fd in fds:
        os.fstat(fd)
    return fds


class Pipes:
    """The init pipe and the status pipe.

    Args:
        owner: closes our ends, but for that of the channel, which `close` does.
    """

    def __init__(self, owner: Descriptors) -> None:
        self._child_ends = Descriptors()
        self.channel, child = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            self.child_channel = self._child_ends.add(child.detach())
            reader, writer = os.pipe()
            self.status = owner.add(reader)
            self.child_status = self._child_ends.add(writer)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Pipes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close_child_ends()
        self.channel.close()

    def child_fds(self) -> set[int]:
        return {self.child_channel, self.child_status}

    def environment(self) -> dict[bytes, bytes]:
        """How the stages learn of their ends."""
        return {
            b"_LIBCONTAINER_INITPIPE": b"%d" % self.child_channel,
            b"_NSENTER_STATUS": b"%d" % self.child_status,
        }

    def close_child_ends(self) -> None:
        self._child_ends.close()
