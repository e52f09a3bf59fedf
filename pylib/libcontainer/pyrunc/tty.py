# SPDX-License-Identifier: Apache-2.0
"""Connect the caller's terminal with the terminal of a process in the foreground."""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import termios
from errno import EIO

from libcontainer.errors import ContainerError
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure, receive_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.pyrunc.watch import Watch

_OWN_TERMINAL = "/dev/tty"  # the controlling one, whichever it is
_STDIN, _STDOUT = 0, 1
_CHUNK = 1 << 16
_WINDOW = bytes(8)
_INPUT_OFF = (
    termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR
    | termios.IGNCR | termios.ICRNL | termios.IXON
)  # fmt: skip
_LOCAL_OFF = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN
_INPUT, _OUTPUT, _CONTROL, _LOCAL, _CHARACTERS = 0, 1, 2, 3, 6  # of tcgetattr's list


class Terminal:
    """Both ends of a console socket, and the master of the terminal that is sent over it.

    Attributes:
        socket: the end to which the init sends the master.

    Raises:
        OSError: the caller has no terminal.
    """

    def __init__(self) -> None:
        self._host = _host_terminal()
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        self._ours, self.socket = ours.detach(), theirs.detach()
        self._master = -1
        self._saved: list[Any] | None = None
        self._typed = b""

    def receive(self) -> None:
        """Receive the master and connect it with the caller's terminal.

        The caller's terminal is put in raw mode, and the master gets its window size.
        """
        os.close(self.socket)
        self.socket = -1
        _, fds = receive_fds(self._ours, 64, 1)
        if not fds:
            raise ContainerError("the container's init has sent no terminal")
        self._master = fds[0]
        os.set_blocking(self._master, False)
        self.resize()
        if not os.isatty(_STDOUT):
            _end_lines_plainly(self._master)
        self._saved = _mode_of(self._host)
        _set_mode(self._host, termios.TCSANOW, _raw(self._saved))

    def resize(self) -> None:
        """Give the terminal of the process the window size of the caller's."""
        try:
            size = fcntl.ioctl(self._host, termios.TIOCGWINSZ, _WINDOW)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)
        except OSError:
            pass  # hung up

    def join(self, watch: Watch) -> None:
        """Copy in both directions from now on."""
        self._watch = watch
        watch.add(self._master, self._on_master)
        watch.add(_STDIN, self._on_stdin)

    def drain(self) -> None:
        """Copy the rest of the output."""
        while self._copy_out():
            pass

    def _on_master(self) -> None:
        if self._typed:
            self._type()
        if not self._copy_out(one=True):
            self._watch.drop(self._master)

    def _copy_out(self, *, one: bool = False) -> bool:
        """Copy one piece of output.

        Args:
            one: wait for a piece.

        Returns:
            False if there is no output; with `one`, if there will be none.
        """
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return one
        except OSError:  # EIO: nobody has the other end open
            return False
        _write(_STDOUT, data)
        return bool(data)

    def _on_stdin(self) -> None:
        try:
            data = os.read(_STDIN, _CHUNK)
        except OSError:
            data = b""
        if not data:
            self._watch.drop(_STDIN)
            return
        self._typed = data
        self._type()

    def _type(self) -> None:
        """Pass on typed input.

        While the process does not read it, no more is read from the caller's terminal.
        """
        try:
            while self._typed:
                self._typed = self._typed[os.write(self._master, self._typed) :]
        except BlockingIOError:
            self._watch.drop(_STDIN)
            self._watch.add(self._master, self._on_master, select.POLLIN | select.POLLOUT)
            return
        except OSError:
            self._typed = b""
        self._watch.add(self._master, self._on_master)
        self._watch.add(_STDIN, self._on_stdin)

    def close(self) -> None:
        """Restore the mode of the caller's terminal."""
        if self._saved is not None:
            _set_mode(self._host, termios.TCSADRAIN, self._saved)
            self._saved = None
        fds = self._ours, self.socket, self._master, self._host
        self._ours = self.socket = self._master = self._host = -1
        close(*(fd for fd in fds if fd >= 0))


def _host_terminal() -> int:
    """Return a descriptor of the caller's terminal: a stream, or the controlling terminal."""
    for stream in (2, 1, 0):
        if os.isatty(stream):
            return fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        return os.open(_OWN_TERMINAL, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Failure("open", _OWN_TERMINAL, error.errno or 0) from None


def _raw(mode: list[Any]) -> list[Any]:
    """Return the mode of cfmakeraw(3), with reads of at least one byte."""
    raw = [*mode[:_CHARACTERS], list(mode[_CHARACTERS])]
    raw[_INPUT] &= ~_INPUT_OFF
    raw[_OUTPUT] &= ~termios.OPOST
    raw[_CONTROL] = raw[_CONTROL] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    raw[_LOCAL] &= ~_LOCAL_OFF
    raw[_CHARACTERS][termios.VMIN] = 1
    raw[_CHARACTERS][termios.VTIME] = 0
    return raw


def _end_lines_plainly(master: int) -> None:
    """Turn off the carriage returns, which are of no use in a file."""
    mode = _mode_of(master)
    mode[_OUTPUT] &= ~termios.ONLCR
    _set_mode(master, termios.TCSANOW, mode)


def _mode_of(terminal: int) -> list[Any]:
    try:
        return termios.tcgetattr(terminal)
    except termios.error as error:  # which is no OSError
        raise Failure("tcgetattr", "the terminal", error.args[0]) from None


def _set_mode(terminal: int, when: int, mode: list[Any]) -> None:
    """Set the mode of a terminal; one that was hung up has none any more, which is ignored."""
    try:
        termios.tcsetattr(terminal, when, mode)
    except termios.error as error:
        if error.args[0] != EIO:
            raise Failure("tcsetattr", "the terminal", error.args[0]) from None


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
