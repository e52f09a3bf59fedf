# SPDX-License-Identifier: Apache-2.0
"""Messages between the parent and its init, on the init pipe.

A message is a length of four bytes and words with NULs between them. Both ends use this module;
the parent takes what it reads for no more than words, and not many of them. The parent passes a
deadline, a moment of time.monotonic(), to whatever waits for the init: an init that is stopped, or
hangs, must not hold it. The init passes none: it is killed when its parent ends.
"""

from __future__ import annotations

import posix
import sys
import time
from errno import ECONNRESET, EPIPE

from nsenter._host.cleanup import close
from nsenter._host.syscalls import POLLIN, POLLOUT, Failure, poll, receive_fds, send_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# What the init says.
LOOPBACK = "loopback"  # with a socket of its network namespace: bring lo up; no answer
DEVICES = "devices"  # with a socket of rtnetlink(7): move the network devices here; no answer
CGROUP = "cgroup"  # it has to be in its cgroup now; answered when it is
HOOKS = "hooks"  # the root is there: run the hooks that belong between here and the pivot
IDMAP = "idmap"  # with a detached tree, and the index of its mount: answered when it is id-mapped
LAST = "last"  # all that needs the host is done: the PID namespace is joined once it is answered
SUCCESSOR = "successor"  # with a pidfd: that process goes on in its place, and gets the answer
READY = "ready"  # all is set up but what cannot be taken back; answered when the state is saved
WAITING = "waiting"  # at the exec fifo, with nothing else left to do: the last message; no answer
LISTENER = "listener"  # its filter has a listener: answered with connections to the agent
ERROR = "error"  # operation, subject, errno, why
# What the parent says.
DOORS = "doors"  # with descriptors of files to write itself into its cgroups by
MOUNT = "mount"  # the index of a mount, with the descriptor of the tree to put there
AGENTS = "agents"  # where the agent listens and what it is told, with connections to it
GO = "go"

_LENGTH = 4
_PIECE = 1 << 14  # of the 208 KiB that a socket holds, of which a quarter may be taken
_MOST = 1 << 16
_AT_ONCE = 4096  # so that who dies between two system calls has sent a whole message, or nothing
_MOST_DOORS = 64  # one for each hierarchy of cgroup v1
MOST_AGENTS = 250  # the kernel's SCM_MAX_FD is 253
_LONGEST_STATE = 1 << 24  # what an agent is told has the annotations of config.json in it


class PeerGoneError(EOFError):
    """The other end is closed."""


def _await(fd: int, events: int, deadline: float | None) -> None:
    """Wait until one of the events has come. Raises TimeoutError when the deadline has passed."""
    if deadline is not None and not poll({fd: events}, max(0.0, deadline - time.monotonic())):
        raise TimeoutError("the other end of the init pipe is silent")


def _read(fd: int, size: int, deadline: float | None) -> bytes:
    parts = []
    while size:
        _await(fd, POLLIN, deadline)
        part = posix.read(fd, size)
        if not part:
            raise PeerGoneError("the other end of the init pipe is closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _pack(words: tuple[str, ...], most: int = _MOST) -> bytes:
    texts = (word.replace("\0", "\\0").encode("utf-8", "surrogateescape") for word in words)
    body = b"\0".join(texts)[: most - 1]
    return len(body).to_bytes(_LENGTH, sys.byteorder) + body


def send(fd: int, *words: str, deadline: float | None = None) -> None:
    """Send a message.

    Raises:
        BrokenPipeError: nobody is there.
        TimeoutError: the other end does not read, and the deadline has passed.
    """
    _write(fd, _pack(words), deadline)


def _write(fd: int, data: bytes, deadline: float | None) -> None:
    rest = memoryview(data)
    while rest:
        # If there is room, there is room for this much: the write does not wait.
        _await(fd, POLLOUT, deadline)
        rest = rest[posix.write(fd, rest[:_PIECE]) :]


def send_with_fds(
    fd: int, descriptors: Iterable[int], *words: str, deadline: float | None = None
) -> None:
    """Send a message, and descriptors on its first byte. Raises as `send` does."""
    _send_with_fds(fd, descriptors, _pack(words), deadline)


def _send_with_fds(
    fd: int, descriptors: Iterable[int], data: bytes, deadline: float | None
) -> None:
    _await(fd, POLLOUT, deadline)
    try:
        sent = send_fds(fd, data[:_AT_ONCE], tuple(descriptors))
    except Failure as failure:
        raise _as_of_posix(failure) from None
    _write(fd, data[sent:], deadline)


def send_agents(
    fd: int, descriptors: Iterable[int], path: str, message: str, *, deadline: float | None = None
) -> None:
    """Answer `LISTENER`. Raises as `send`, and ValueError if it is too long for an agent."""
    data = _pack((AGENTS, path, message), _LONGEST_STATE + 1)
    if len(data) > _LONGEST_STATE:
        raise ValueError(f"the state for the seccomp agent has over {_LONGEST_STATE} bytes")
    _send_with_fds(fd, descriptors, data, deadline)


def _as_of_posix(failure: Failure) -> OSError:
    """That nobody is there has the class that it has with read and write."""
    gone = failure.errno in (EPIPE, ECONNRESET)
    return OSError(failure.errno, failure.strerror) if gone else failure


def receive(
    fd: int, most: int = 1, longest: int = _MOST, *, deadline: float | None = None
) -> tuple[list[str], list[int]]:
    """The next message, and the descriptors that may have come with it.

    Args:
        most: how many those may be; the kernel closes what is over.
        longest: that the message may be.

    Raises:
        PeerGoneError, ConnectionResetError: there is none to come.
        TimeoutError: it has not come whole, and the deadline has passed.
        ValueError: it is longer than any that is sent.
    """
    _await(fd, POLLIN, deadline)
    try:
        first, fds = receive_fds(fd, 1, most)
    except Failure as failure:
        raise _as_of_posix(failure) from None
    if not first:
        raise PeerGoneError("the other end of the init pipe is closed")
    try:
        size = int.from_bytes(first + _read(fd, _LENGTH - 1, deadline), sys.byteorder)
        if size >= longest:
            raise ValueError(f"a message of {size} bytes on the init pipe")
        body = _read(fd, size, deadline)
    except BaseException:
        for received in fds:
            close(received)
        raise
    words = body.decode("utf-8", "surrogateescape").split("\0")
    return words, fds


def ask(fd: int, *words: str) -> None:
    """Say something and wait until the other end says `GO`."""
    send(fd, *words)
    expect_go(fd)


def expect_go(fd: int) -> None:
    """Wait for `GO`. Raises PeerGoneError where something else, or nothing, comes."""
    words, _ = receive(fd)
    if words != [GO]:
        raise PeerGoneError(f"{words[0]!r} where {GO!r} was to come")


def receive_until_go(fd: int) -> tuple[list[int], dict[int, int]]:
    """What comes before the first `GO`: doors, and trees by the index of their mount."""
    doors: list[int] = []
    mounts: dict[int, int] = {}
    while True:
        words, fds = receive(fd, _MOST_DOORS)
        if words == [GO]:
            return doors, mounts
        if words == [DOORS]:
            doors = fds
        elif words[0] == MOUNT and fds:
            mounts[int(words[1])] = fds[0]
        else:
            raise PeerGoneError(f"{words[0]!r} where {GO!r} was to come")


def receive_doors(fd: int) -> list[int]:
    """Wait for `DOORS`. Raises PeerGoneError where something else, or nothing, comes."""
    words, doors = receive(fd, _MOST_DOORS)
    if words != [DOORS]:
        raise PeerGoneError(f"{words[0]!r} where {DOORS!r} was to come")
    return doors


def receive_agents(fd: int) -> tuple[list[int], bytes, str]:
    """Wait for `AGENTS`: the connections, what to tell on each, and where the agent listens.

    Raises PeerGoneError where something else, or nothing, comes.
    """
    words, agents = receive(fd, MOST_AGENTS, _LONGEST_STATE)
    if len(words) != 3 or words[0] != AGENTS:
        raise PeerGoneError(f"{words[0]!r} where {AGENTS!r} was to come")
    return agents, words[2].encode(), words[1]
