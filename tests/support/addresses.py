# SPDX-License-Identifier: Apache-2.0
"""Sockets at paths that are too long for an address of unix(7)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def long_path(folder: Path, length: int) -> Path:
    """A path of so many bytes below a folder, or a little longer than the folder's own; all but
    its last part is made."""
    while length - len(str(folder)) > 120:
        folder = folder / ("d" * 100)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / ("s" * max(1, length - len(str(folder)) - 1))


@contextmanager
def listening_at(path: Path, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """Binds by a relative name, which is short enough."""
    back = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX, kind) as listener:
        try:
            os.chdir(path.parent)
            short = path.name if len(path.name) <= 100 else "short"
            listener.bind(short)
            Path(short).rename(path.name)
        finally:
            os.fchdir(back)
            os.close(back)
        listener.settimeout(20)
        if kind == socket.SOCK_STREAM:
            listener.listen()
        yield listener
