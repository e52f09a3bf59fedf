# SPDX-License-Identifier: Apache-2.0
"""A parent of a given size, in a process of its own: `worker.py BYTES NOOP`.

For each line on standard input it launches the no-op once and prints the nanoseconds until it
was executed, and until it was waited for.
"""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

from cases.program import launch_program
from kit import Kit, five_namespaces

_PAGE = mmap.PAGESIZE


def _touched(size: int) -> mmap.mmap | None:
    """Memory with every page written to; small pages, as most of a large Python's are, and
    which cost a fork the most."""
    if size == 0:
        return None
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[::_PAGE] = b"\1" * (size // _PAGE)
    return memory


def main() -> None:
    size, noop = int(sys.argv[1]), Path(sys.argv[2])
    held = _touched(size)
    measure = launch_program(Kit(noop.parent, noop, noop, five_namespaces()))
    for _ in sys.stdin:
        print(*measure(), flush=True)
    del held


main()
