# SPDX-License-Identifier: Apache-2.0
"""Frames on the init pipe: words, and descriptors that come with the first byte.

A frame is a length of four bytes, and words with NULs between them. The parent trusts nothing that
it reads here: for it, a frame is only a limited number of words and descriptors.

The parent passes a deadline, a moment of time.monotonic(), to every function that waits for the
init: an init that is stopped, or hangs, must not stop the parent. The init passes none, because it
is killed when its parent ends.
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
    from collections.abc import Sequence

__all__ = ["LONGEST", "PeerGoneError", "pack", "receive", "send"]

LONGEST = 1 << 16

_LENGTH = 4
_PIECE = 1 << 14  # of the 208 KiB that a socket holds, of which a quarter may be taken
_AT_ONCE = 4096  # a sender that dies between two system calls has sent a whole message, or nothing


class PeerGoneError(EOFError):
    """The other end is closed."""


def _await(fd: int, events: int, deadline: float | None) -> None:
    """Wait until one of the events has come. Raise TimeoutError once the deadline has passed."""
    if deadline is not None and not poll({fd: events}, max(0.0, deadline - time.monotonic())):
        raise TimeoutError("the other end of the init pipe is silent")


def _as_of_posix(failure: Failure) -> OSError:
    """Return an error of the class that read(2) and write(2) raise if the other end is closed."""
    gone = failure.errno in (EPIPE, ECONNRESET)
    return OSError(failure.errno, failure.strerror) if gone else failure


# ---- sending


def pack(words: Sequence[str], longest: int = LONGEST) -> bytes:
    """Return a frame. What is over the longest is cut off.

    Args:
        words: the words.
        longest: how many bytes all words may have together.
    """
    texts = (word.replace("\0", "\\0").encode("utf-8", "surrogateescape") for word in words)
    body = b"\0".join(texts)[: longest - 1]
    return len(body).to_bytes(_LENGTH, sys.byteorder) + body


def send(fd: int, frame: bytes, fds: Sequence[int] = (), *, deadline: float | None = None) -> None:
    """Send a frame.

    Args:
        fd: the descriptor of the init pipe.
        frame: what `pack` returned.
        fds: descriptors that are sent with the first byte.
        deadline: until when the other end must have made room for all of it.

    Raises:
        BrokenPipeError: the other end is closed.
        TimeoutError: the other end does not read, and the deadline has passed.
    """
    sent = _send_start(fd, frame, fds, deadline) if fds else 0
    rest = memoryview(frame)[sent:]
    while rest:
        # If there is room, there is room for this much: the write does not wait.
        _await(fd, POLLOUT, deadline)
        rest = rest[posix.write(fd, rest[:_PIECE]) :]


def _send_start(fd: int, frame: bytes, fds: Sequence[int], deadline: float | None) -> int:
    """Send descriptors with the first bytes of a frame; return how many bytes were sent."""
    _await(fd, POLLOUT, deadline)
    try:
        return send_fds(fd, frame[:_AT_ONCE], tuple(fds))
    except Failure as failure:
        raise _as_of_posix(failure) from None


# ---- receiving


def receive(
    fd: int, most_fds: int = 1, longest: int = LONGEST, *, deadline: float | None = None
) -> tuple[list[str], list[int]]:
    """Return the words of the next frame, and the descriptors that came with it.

    Args:
        fd: the descriptor of the init pipe.
        most_fds: how many descriptors to take; the kernel closes all that are over.
        longest: how many bytes all words may have together.
        deadline: until when the whole frame must be there.

    Raises:
        PeerGoneError, ConnectionResetError: the other end is closed.
        TimeoutError: the deadline has passed.
        ValueError: the frame is too long.
    """
    _await(fd, POLLIN, deadline)
    try:
        first, fds = receive_fds(fd, 1, most_fds)
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
        close(*fds)
        raise
    return body.decode("utf-8", "surrogateescape").split("\0"), fds


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
