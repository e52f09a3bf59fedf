# SPDX-License-Identifier: Apache-2.0
"""The launcher's side of the process that keeps an overlay mounted (_inside/overlay_keeper.py)."""

from __future__ import annotations

import os
import sys
from _thread import RLock
from errno import ECONNRESET

from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._inside.overlay_keeper import FUSE, LENGTH_BYTES, MOST_FDS
from nsenter.launch import PythonInit
from nsenter.mounts import Bind, Dev, Mount, Proc
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["Generation", "Keeper"]

_TARGET = "nsenter._inside.overlay_keeper:main"
_MOST_TEXT = 1 << 16
_END_SECONDS = 30.0
# What fuse-overlayfs requires in the root of the process, as far as the system has it.
_PROGRAMS = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc/ld.so.cache")


class Generation:
    """One overlay that starts without changes.

    Attributes:
        number: its number, from 0.
        merged: a descriptor of its top directory, which shows the lower layer with the changes.
        upper: a descriptor of the top directory of its upper layer, which holds the changes alone.
    """

    def __init__(self, number: int, merged: int, upper: int) -> None:
        self.number = number
        self.merged = merged
        self.upper = upper

    def close(self) -> None:
        """Close the descriptors."""
        for name in ("merged", "upper"):
            fd = getattr(self, name)
            if fd >= 0:
                setattr(self, name, -1)
                close(fd)


class Keeper:
    """Start a process that keeps the overlays of one lower layer. Several threads may use it.

    Args:
        lower: what is mounted as the lower layer; its target is `LOWER`.
        kind: how an overlay is made: a constant of `nsenter._inside.overlay_keeper`.
        size, inodes: the limits of each upper layer.
        settings: fields of `Options` for the process: its id mappings.

    Raises:
        BootstrapError: the process could not be started.
    """

    def __init__(
        self, lower: Mount, kind: str, size: int, inodes: int, settings: dict[str, Any]
    ) -> None:
        self._lock = RLock()
        self._waiting: list[int] = []  # the generations that are being made, the first first
        self._ready: list[Generation] = []
        self._next = 0
        init = PythonInit(_TARGET, (kind, size, inodes), extensions=None)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            options = _options(lower, kind, settings)
            self._child = options.launch(init, stdin=null, stdout=null, env={})
        finally:
            close(null)

    def prepare(self) -> None:
        """Have the next generation made, without waiting for it."""
        with self._lock:
            self._ask("make", self._next)
            self._waiting.append(self._next)
            self._next += 1

    def take(self) -> Generation:
        """Return the next generation: one that was prepared, or else a new one.

        Raises:
            OSError: it could not be made.
        """
        with self._lock:
            if not self._ready and not self._waiting:
                self.prepare()
            if not self._ready:
                self._collect()
            return self._ready.pop(0)

    def _collect(self) -> None:
        """Receive one generation that was asked for."""
        number = self._waiting.pop(0)
        self._ready.append(Generation(number, *self._receive(2)))

    def clone(self, generation: Generation) -> int:
        """Return a descriptor of a detached mount of a generation, for one process."""
        with self._lock:
            while self._waiting:  # the answers come in order
                self._collect()
            self._ask("clone", generation.number)
            return self._receive(1)[0]

    def drop(self, generation: Generation) -> None:
        """Close a generation and have it unmounted, without waiting for that."""
        generation.close()
        self._ask("drop", generation.number)

    def _ask(self, word: str, number: int) -> None:
        try:
            os.write(self._child.channel_fd, f"{word} {number}\n".encode())
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def _receive(self, count: int) -> list[int]:
        channel = self._child.channel_fd
        try:
            start, fds = syscalls.receive_fds(channel, LENGTH_BYTES, MOST_FDS)
        except syscalls.Failure as failure:
            if failure.errno != ECONNRESET:
                raise
            raise self._ended() from None
        try:
            text = self._text(start)
            number, _, why = text.decode("utf-8", "replace").partition(" ")
            if int(number) or len(fds) != count:
                raise OSError(int(number), why)
        except BaseException:
            close(*fds)
            raise
        return fds

    def _text(self, start: bytes) -> bytes:
        """Return the rest of an answer whose first bytes, its length, have been received."""
        length = min(int.from_bytes(start, sys.byteorder), _MOST_TEXT)
        text = b""
        while len(start) == LENGTH_BYTES and len(text) < length:
            piece = os.read(self._child.channel_fd, length - len(text))
            if not piece:
                break
            text += piece
        if not text or len(text) < length:
            raise self._ended()
        return text

    def _ended(self) -> OSError:
        why = f"process {self._child.pid}, which keeps the overlay, has ended"
        return ConnectionResetError(ECONNRESET, why)

    def close(self) -> None:
        """End the process. What it has mounted goes with it, except where it is still used."""
        for generation in self._ready:
            generation.close()
        self._ready.clear()
        with suppress(ChildProcessError):
            self._child.kill()
            self._child.wait(_END_SECONDS)
        self._child.close()


def _options(lower: Mount, kind: str, settings: dict[str, Any]) -> Options:
    mounts: list[Mount] = [lower]
    new = "user,mnt"
    if kind == FUSE:
        new = "user,mnt,pid"
        bound = [path for path in _PROGRAMS if os.path.exists(path)]
        fuse = Bind("/dev/fuse", writable=True, devices=True)
        mounts += [*map(Bind, bound), Proc(), Dev(), fuse]
    return Options(
        new=new,
        root="tmpfs",
        mounts=mounts,
        init=False,
        die_with_parent=True,
        proc=False,
        **settings,
    )
