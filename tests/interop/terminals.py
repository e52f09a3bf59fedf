# SPDX-License-Identifier: Apache-2.0
"""Terminals for containers: a console socket, as a manager has it, and a person's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import socket
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from interop import orphans

_SECONDS = 30.0  # for what takes milliseconds
ROWS, COLUMNS = 33, 111


@contextlib.contextmanager
def console_socket(path: Path) -> Iterator[socket.socket]:
    """A socket at `path` that a runtime sends a terminal to."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(_SECONDS)
        yield listener


def receive(listener: socket.socket) -> int:
    """The descriptor of the terminal that was sent."""
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_SECONDS)
        _, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
    (descriptor,) = descriptors
    return descriptor


def read_until(descriptor: int, words: str) -> str:
    """What a terminal shows, up to when it has shown these words."""
    shown = ""
    deadline = time.monotonic() + _SECONDS
    while words not in shown:
        left = deadline - time.monotonic()
        assert select.select([descriptor], [], [], max(left, 0))[0], f"shown: {shown!r}"
        shown += os.read(descriptor, 65536).decode()
    return shown


def at_a_terminal(argv: Sequence[str], typed: str = "") -> tuple[int, str]:
    """Run a command at a new terminal of ROWS and COLUMNS: its exit status, and what was shown."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    try:
        os.write(master, typed.encode())
        with subprocess.Popen(
            ["setsid", "--ctty", *argv], stdin=slave, stdout=slave, stderr=slave
        ) as child:
            os.close(slave)
            slave = -1
            shown = _all_shown(master)
            status = child.wait(_SECONDS)
        orphans.reap()
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)
    return status, shown


def _all_shown(master: int) -> str:
    """Until nobody has the other end open any more."""
    shown = b""
    deadline = time.monotonic() + _SECONDS
    while True:
        left = deadline - time.monotonic()
        assert select.select([master], [], [], max(left, 0))[0], f"shown: {shown!r}"
        try:
            shown += os.read(master, 65536)
        except OSError:  # EIO
            return shown.decode()
