# SPDX-License-Identifier: Apache-2.0
"""The caller's terminal, joined to that of a process in the foreground."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import termios

from nsenter.system import receive_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from libcontainer.process import Process

_STDIN, _STDOUT = 0, 1
_CHUNK = 1 << 16
_WINDOW = bytes(8)


class Terminal:
    """Both ends of a console socket, and what comes over it.

    Attributes:
        socket: the end that the init sends the master to.
    """

    def __init__(self) -> None:
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._ours, self.socket = ours.detach(), theirs.detach()
        self._master = -1
        self._saved: list[Any] | None = None

    def receive(self) -> None:
        """Take the master, and give our own terminal to it: raw, and of the same size."""
        _, fds = receive_fds(self._ours, 64, 1)
        self._master = fds[0]
        self.resize()
        try:
            self._saved = termios.tcgetattr(_STDIN)
        except termios.error:
            return
        mode = termios.tcgetattr(_STDIN)
        mode[0] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
            | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        mode[1] &= ~termios.OPOST
        mode[2] = mode[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        mode[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        termios.tcsetattr(_STDIN, termios.TCSANOW, mode)

    def resize(self) -> None:
        """Give it our terminal's size, where we have one."""
        try:
            size = fcntl.ioctl(_STDIN, termios.TIOCGWINSZ, _WINDOW)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        except OSError:
            pass

    def copy_until(self, process: Process, signals: int, on_signal: Callable[[], None]) -> None:
        """Copy both ways until the process has ended and all that it wrote is out."""
        poller = select.poll()
        for fd in (process.pidfd, signals, self._master, _STDIN):
            poller.register(fd, select.POLLIN)
        ended = False
        while True:
            ready = {fd for fd, _ in poller.poll(0 if ended else None)}
            if signals in ready:
                on_signal()
            if self._master in ready and not self._out():
                poller.unregister(self._master)
            if _STDIN in ready and not self._in():
                poller.unregister(_STDIN)
            if ended and self._master not in ready:
                return
            ended = ended or process.pidfd in ready

    def _out(self) -> bool:
        try:
            data = os.read(self._master, _CHUNK)
        except OSError:  # EIO: nobody has the other end open
            return False
        _write(_STDOUT, data)
        return bool(data)

    def _in(self) -> bool:
        data = os.read(_STDIN, _CHUNK)
        if data:
            _write(self._master, data)
        return bool(data)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._saved is not None:
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, self._saved)
        for fd in (self._ours, self.socket, self._master):
            if fd >= 0:
                os.close(fd)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
