# SPDX-License-Identifier: Apache-2.0
"""Copy data between this command's streams and the terminal of the program that it runs."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import termios
import tty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._launch.child import Child

__all__ = ["relay"]

_CHUNK = 1 << 16
_END_OF_INPUT = b"\4"  # what a person types where there is no more
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR


def relay(child: Child) -> None:
    """Copy both ways until the child has ended, or until no process has its terminal open.

    If standard input is a terminal, it is in raw mode meanwhile: the child's terminal decides what
    the keys mean. The child's terminal always has the size of this one.
    """
    with _Raw(), _Resizing(child.terminal_fd):
        _Copy(child).run()


class _Raw:
    """Our terminal, if it is one, hands on every key while in this block."""

    def __enter__(self) -> None:
        self._before = termios.tcgetattr(0) if os.isatty(0) else None
        if self._before is not None:
            tty.setraw(0)

    def __exit__(self, *exc_info: object) -> None:
        if self._before is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._before)


class _Resizing:
    """The child's terminal has the size of ours while in this block."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal

    def _resize(self, *_: object) -> None:
        size = fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8))
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    def __enter__(self) -> None:
        self._before: Any = signal.getsignal(signal.SIGWINCH)
        if os.isatty(0):
            self._resize()
            signal.signal(signal.SIGWINCH, self._resize)

    def __exit__(self, *exc_info: object) -> None:
        signal.signal(signal.SIGWINCH, self._before)


class _Copy:
    """The loop that copies between the terminal and the child.

    Input waits here until the child has room for it. Otherwise a child that does not read while it
    waits for its output to be taken would wait forever.
    """

    def __init__(self, child: Child) -> None:
        self._child, self._terminal = child, child.terminal_fd
        self._typed = b""
        self._has_ended = False  # our input
        self._poller = select.poll()
        self._poller.register(child.pidfd, select.POLLIN)

    def run(self) -> None:
        os.set_blocking(self._terminal, False)
        self._poller.register(0, select.POLLIN)
        while True:
            wanted = select.POLLIN | (select.POLLOUT if self._typed else 0)
            self._poller.register(self._terminal, wanted)
            for fd, events in self._poller.poll():
                if fd == 0:
                    self._take_input()
                elif fd == self._terminal and events & select.POLLOUT:
                    self._hand_on_input()
                elif fd == self._terminal and events & _READABLE and not self._print_output():
                    return
                elif fd == self._child.pidfd:
                    while self._print_output():  # what is there already
                        pass
                    return

    def _take_input(self) -> None:
        typed = os.read(0, _CHUNK)
        self._typed += typed or _END_OF_INPUT
        self._poller.unregister(0)
        self._has_ended = not typed

    def _hand_on_input(self) -> None:
        self._typed = self._typed[os.write(self._terminal, self._typed) :]
        if not self._typed and not self._has_ended:
            self._poller.register(0, select.POLLIN)

    def _print_output(self) -> bool:
        """False where there is no more, now or ever."""
        try:
            output = os.read(self._terminal, _CHUNK)
        except OSError as error:
            if error.errno in (errno.EIO, errno.EAGAIN):  # EIO: nobody has it open
                return False
            raise
        while output:
            output = output[os.write(1, output) :]
        return True
