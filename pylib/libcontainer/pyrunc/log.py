# SPDX-License-Identifier: Apache-2.0
"""The log, in the two forms that runc has and that its callers read."""

from __future__ import annotations

import os
import time

from libcontainer import plainjson

_STDERR = 2


class Log:
    """Where to tell what happens.

    Args:
        path: a file to append to; "": standard error.
        format: "text" or "json".
        debug: whether debug lines are wanted.
    """

    def __init__(self, path: str, format: str, debug: bool) -> None:
        self._path = path
        self._format = format
        self._debug = debug

    def error(self, message: str) -> None:
        """An error; to standard error in any case."""
        self._write("error", message)
        if self._path:
            os.write(_STDERR, f"{message}\n".encode("utf-8", "surrogateescape"))

    def warning(self, message: str) -> None:
        """Something that a person may want to know."""
        self._write("warning", message)

    def debug(self, message: str) -> None:
        """What is done, for who asked for it."""
        if self._debug:
            self._write("debug", message)

    def _write(self, level: str, message: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self._format == "json":
            line = plainjson.dumps({"level": level, "msg": message, "time": now})
        else:
            line = f'time="{now}" level={level} msg={plainjson.dumps(message)}'
        data = f"{line}\n".encode("utf-8", "surrogateescape")
        if not self._path:
            os.write(_STDERR, data)
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
