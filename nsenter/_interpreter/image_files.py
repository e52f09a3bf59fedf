# SPDX-License-Identifier: Apache-2.0
"""The identities of the files that a memory image depends on.

csrc/interpreter/restore.c compares them with the files that are there.
"""

from __future__ import annotations

import os
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["identities"]

_COUNT = struct.Struct("=Q")
_FILE = struct.Struct("=QQQqqIIII")  # struct image_file of csrc/interpreter/image.h


def identities(paths: Iterable[str]) -> bytes:
    """Return the identities of files, in the form that csrc/interpreter/dump_files.c reads.

    Raises:
        OSError: there is no such file.
    """
    found = {path: os.stat(path) for path in sorted({*paths})}
    strings = bytearray()
    first = _COUNT.size + _FILE.size * len(found)
    records = []
    for path, status in found.items():
        changed, modified = divmod(status.st_ctime_ns, 10**9), divmod(status.st_mtime_ns, 10**9)
        place = first + len(strings)
        strings += os.fsencode(path) + b"\0"
        records.append(
            _FILE.pack(
                *(status.st_dev, status.st_ino, status.st_size, changed[0], modified[0]),
                *(changed[1], modified[1], place, 0),
            )
        )
    return _COUNT.pack(len(found)) + b"".join(records) + bytes(strings)
