# SPDX-License-Identifier: Apache-2.0
"""Files that commands write. An error of write(2) does not say by itself which file it was."""

from __future__ import annotations

import os

from nsenter.suppress import suppress
from nsenter.system import Failure

__all__ = ["make_file", "write_whole"]


def make_file(path: str, data: bytes) -> None:
    """Make a file that does not exist yet. If it cannot be written whole, it is removed again."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        write_whole(fd, data, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(path)
        raise
    finally:
        os.close(fd)


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
