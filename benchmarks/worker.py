# SPDX-License-Identifier: Apache-2.0
"""A process with something particular about it, which measures by itself.

`worker.py launch BYTES MOUNTS NOOP`: has touched so much memory and sees so many mounts more. For
each line it launches the no-op and prints the nanoseconds until it was executed, and waited for.

`worker.py unified`: sees cgroup v2 alone, whatever the machine has. For each line, the words of a
command, it runs it and prints the nanoseconds on the clock, and of the processors.
"""

from __future__ import annotations

import mmap
import os
import sys
from pathlib import Path

from cases.launching import five_namespaces, launch_program
from kit import usage_of

from nsenter import system

_PAGE = mmap.PAGESIZE
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_CLONE_NEWNS = 0x20000


def _touched(size: int) -> mmap.mmap | None:
    """Memory with every page written to; small pages, as most of a large Python's are, and
    which cost a fork the most."""
    if size == 0:
        return None
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory[::_PAGE] = b"\1" * (size // _PAGE)
    return memory


def _own_mounts() -> None:
    system.unshare(_CLONE_NEWNS)
    system.mount("", "/", "", _MS_REC | _MS_PRIVATE)


def _mount(count: int, folder: Path) -> None:
    """So many mounts, beside each other, as those of containers are."""
    _own_mounts()
    system.mount("nsenter-bench", str(folder), "tmpfs", 0)
    for i in range(count - 1):
        place = folder / str(i)
        place.mkdir()
        system.mount(str(place), str(place), "", _MS_BIND)


def _launches(size: int, mounts: int, noop: Path) -> None:
    held = _touched(size)
    if mounts:
        folder = noop.parent / f"mounts-{os.getpid()}"
        folder.mkdir()
        _mount(mounts, folder)
    measure = launch_program(noop, five_namespaces())
    for _ in sys.stdin:
        print(*measure(), flush=True)
    del held


def _commands() -> None:
    _own_mounts()
    system.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)
    for line in sys.stdin:
        print(*usage_of(line.split()), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "unified":
        _commands()
    else:
        _launches(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
