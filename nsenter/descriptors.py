# SPDX-License-Identifier: Apache-2.0
"""The descriptors of a launch: lent to the stages, kept for the payload, and the two pipes."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable, Iterator

from nsenter.bootstrap import BootstrapData
from nsenter.kept import out_of_the_streams
from nsenter.namespaces import Namespace

__all__ = ["Pipes", "above_the_streams", "borrowed_fds", "checked_fds", "high_copy", "high_fd"]

_BORROWED = "/proc/self/fd/"


def borrowed_fds(data: BootstrapData) -> set[int]:
    """Descriptors that paths of the message name: of namespaces, or pidfds."""
    numbers = (
        ns.path.removeprefix(_BORROWED)
        for ns in data.namespace_paths
        if ns.path.startswith(_BORROWED)
    )
    return {int(n) for n in numbers if n.isdecimal()}


@contextlib.contextmanager
def high_fd(fd: int) -> Iterator[int]:
    """Owns a descriptor, moved out of 0 … 2 where the caller has those closed."""
    fd = out_of_the_streams(fd)
    try:
        yield fd
    finally:
        os.close(fd)


def high_copy(fd: int) -> contextlib.AbstractContextManager[int]:
    """A copy that is none of 0, 1, 2: in the child those are its streams."""
    return high_fd(os.dup(fd))


def above_the_streams(data: BootstrapData, stack: contextlib.ExitStack) -> BootstrapData:
    """Borrowed descriptors that are 0, 1 or 2 here are others in the child."""
    low = borrowed_fds(data) & {0, 1, 2}
    moved = {f"{_BORROWED}{fd}": stack.enter_context(high_copy(fd)) for fd in low}
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
    """The init pipe and the status pipe; the stack closes our ends."""

    def __init__(self, stack: contextlib.ExitStack) -> None:
        self.channel, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stack.enter_context(contextlib.closing(self.channel))
        self._child_ends = stack.enter_context(contextlib.ExitStack())
        self.child_channel = self._child_ends.enter_context(high_fd(child.detach()))
        reader, writer = os.pipe()
        self.status = stack.enter_context(high_fd(reader))
        self.child_status = self._child_ends.enter_context(high_fd(writer))

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
