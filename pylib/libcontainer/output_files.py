# SPDX-License-Identifier: Apache-2.0
"""Write files, with errors that name the file, which an error of write(2) does not."""

from __future__ import annotations

import os

from nsenter._host.cleanup import close, undo
from nsenter._host.syscalls import Failure

__all__ = ["close_written", "make_file", "write_whole"]


def make_file(path: str, data: bytes) -> None:
    """Create a new file. If it cannot be written completely, it is removed again."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            write_whole(fd, data, path)
        except BaseException:
            close(fd)
            raise
        close_written(fd, path)
    except BaseException as error:
        undo(error, lambda: os.unlink(path))
        raise


def write_whole(fd: int, data: bytes, path: str) -> None:
    """Write all of the data.

    Args:
        path: of the file, for the error.

    Raises:
        Failure: the file cannot take it, such as if there is no space left.
    """
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError as error:
        raise Failure("write", path, error.errno or 0) from None


def close_written(fd: int, path: str) -> None:
    """Close a file that was written; it is closed in any case.

    Raises:
        Failure: the data is lost: some file systems tell only now that there is no space left.
    """
    try:
        os.close(fd)
    except OSError as error:
        raise Failure("close", path, error.errno or 0) from None
