# SPDX-License-Identifier: Apache-2.0
"""The log, in the two forms of runc's log (logrus' text and JSON), which its callers parse."""

from __future__ import annotations

import os
import time

from nsenter._host import json_text
from nsenter._host.cleanup import close
from nsenter._host.printable import printable

_STDERR = 2
_PATIENCE = 5.0  # seconds
_ATTEMPTS = 2
_COLORS = {"error": 31, "warning": 33, "debug": 37}
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/@^+")


class Log:
    """Writes log lines.

    The file is opened for each line. With --preserve-fds, callers count the descriptors that they
    have opened, so this command must not have a log file open beside them.

    Args:
        path: a file to append to; "" means standard error.
        format: "text" or "json".
        debug: also write debug lines.

    Attributes:
        wants_debug: whether debug lines are written.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: str = "", format: str = "text", debug: bool = False) -> None:
        self._path = path
        self._format = format
        self.wants_debug = debug
        self._began = time.monotonic()
        if path:
            os.close(self._open())

    def error(self, message: str) -> None:
        """Log an error; write it to standard error, too, if the log is a file."""
        self._write("error", message)
        if self._path:
            _put(_STDERR, printable(message))

    def warning(self, message: str) -> None:
        """Log something that the user may want to know."""
        self._write("warning", message)

    def debug(self, message: str) -> None:
        """Log what the command does, if debug lines are wanted."""
        if self.wants_debug:
            self._write("debug", message)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        return os.open(self._path, flags, 0o644)

    def _write(self, level: str, message: str) -> None:
        if not self._path:
            for_a_person = self._format == "text" and os.isatty(_STDERR)
            age = time.monotonic() - self._began
            line = _colored(level, message, age) if for_a_person else self._line(level, message)
            _put(_STDERR, line)
            return
        try:
            fd = self._open()
        except OSError:  # it could be opened when the command began
            return
        try:
            _put(fd, self._line(level, message))
        finally:
            close(fd)

    def _line(self, level: str, message: str) -> str:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._format == "json":
            return json_text.dumps({"level": level, "msg": message, "time": now})
        return f'time="{now}" level={level} msg={_quoted(message)}'


def _put(fd: int, line: str) -> None:
    """Write a line if possible.

    Without a log the command continues, and its status reports the result. If the stream is
    non-blocking, which any process that shares it can cause, it may have no room yet. A reader that
    takes nothing for some seconds is no longer waited for. Other errors, which may be over by then,
    are tried once more.
    """
    data = f"{line}\n".encode("utf-8", "surrogateescape")
    failures = 0
    while data and failures < _ATTEMPTS:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            failures += 0 if _has_room(fd) else _ATTEMPTS
        except OSError:
            failures += 1


def _has_room(fd: int) -> bool:
    from nsenter._host.syscalls import POLLOUT, poll

    try:
        return bool(poll({fd: POLLOUT}, _PATIENCE))
    except OSError:
        return False


def _colored(level: str, message: str, age: float) -> str:
    name = f"\x1b[{_COLORS[level]}m{level[:4].upper()}\x1b[0m"
    return f"{name}[{int(age):04d}] {printable(message):<44} "


def _quoted(text: str) -> str:
    """Return the value in quotes if it is more than one word."""
    if text and _PLAIN.issuperset(text):
        return text
    text = text.translate({0x22: chr(92) + chr(34), 0x5C: chr(92) * 2})
    return f'"{printable(text)}"'
