# SPDX-License-Identifier: Apache-2.0
"""The descriptors of a launch: for the stages, for the payload, and the two pipes."""

from __future__ import annotations

import os

from nsenter._host.cleanup import close
from nsenter._host.syscalls import socketpair
from nsenter._interpreter.sealed_memory import out_of_the_streams
from nsenter.bootstrap import BootstrapData
from nsenter.namespaces import Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Descriptors", "Pipes", "above_the_streams", "borrowed_fds", "checked_fds", "open_fds"]

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

    def release(self) -> int:
        """Return the last descriptor; the caller owns it from now on."""
        return self._owned.pop()

    def numbers(self) -> set[int]:
        """Return all descriptors."""
        return set(self._owned)

    def close(self) -> None:
        """Close them."""
        while self._owned:
            close(self._owned.pop())

    def let_go(self) -> None:
        """Close them where somebody waits for the end of a pipe: then an error counts."""
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
    """Return the descriptors to pass on, as a set.

    Raises:
        TypeError, ValueError: one is no number, or below 0.
        OSError: one is not open.
    """
    fds = set(pass_fds)
    for fd in fds:
        if not isinstance(fd, int):
            raise TypeError(f"pass_fds must be numbers of descriptors, not {fd!r}")
        if fd < 0:
            raise ValueError(f"pass_fds must be at least 0, not {fd!r}")
        try:
            os.fstat(fd)
        except OSError as error:
            why = f"pass_fds: descriptor {fd}: {error.strerror}"
            raise OSError(error.errno, why) from None
    return fds


def open_fds() -> list[int]:
    """Return the open descriptors of this process; the one for reading the list is among them."""
    return [int(name) for name in os.listdir("/proc/self/fd")]


class Pipes:
    """Our ends of the init pipe and the status pipe.

    Args:
        owner: closes that of the status pipe; `close` does that of the channel.
        ends: the two, where the child has the others already; else both pipes are made here.

    Attributes:
        channel, status: our ends.
        child_channel, child_status: the child's, as long as we have them.
    """

    def __init__(self, owner: Descriptors, ends: Sequence[int] = ()) -> None:
        self._child_ends = Descriptors()
        self._channel = Descriptors()
        if ends:
            self.channel, self.status = self._channel.add(ends[0]), owner.add(ends[1])
            return
        ours, theirs = socketpair()
        self.channel = self._channel.add(ours)
        self.child_channel = self._child_ends.add(theirs)
        try:
            reader, writer = os.pipe()
            self.status = owner.add(reader)
            self.child_status = self._child_ends.add(writer)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Pipes:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child_ends.close()
        self._channel.close()

    def child_fds(self) -> set[int]:
        return {self.child_channel, self.child_status}

    def environment(self) -> dict[bytes, bytes]:
        """Return the variables that tell the stages the numbers of their ends."""
        return {
            b"_LIBCONTAINER_INITPIPE": b"%d" % self.child_channel,
            b"_NSENTER_STATUS": b"%d" % self.child_status,
        }

    def close_child_ends(self) -> None:
        self._child_ends.let_go()

    def detach_channel(self) -> int:
        """Our end of the init pipe, the caller's from now on, for talking on with the init."""
        os.set_blocking(self.channel, True)
        return self._channel.release()
