# SPDX-License-Identifier: Apache-2.0
"""A process with something particular about it, which measures by itself.

`worker.py launch BYTES MOUNTS NOOP`: has touched so much memory and sees so many mounts more. For
each line it launches the no-op and prints the nanoseconds until it was executed, and waited for.

`worker.py unified`: sees cgroup v2 alone, whatever the machine has. For each line, the words of a
command, it runs it and prints the nanoseconds on the clock, and of the processors.

`worker.py call FUNCTION`: calls a function of the payload for each line, in new namespaces and an
interpreter of its own.

`worker.py fork FUNCTION`: has called a function of the payload once, and calls it in an os.fork()
of itself for each line.

`worker.py sandlock NOOP`: runs the no-op by sandlock for each line, with the files of the system.
It starts threads of its own, which must not be in the process that measures all others.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cases.launching import five_namespaces, launch_program
from kit import usage_of

from nsenter._host import syscalls

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
    syscalls.unshare(_CLONE_NEWNS)
    syscalls.mount("", "/", "", _MS_REC | _MS_PRIVATE)


def _mount(count: int, folder: Path) -> None:
    """So many mounts, beside each other, as those of containers are."""
    _own_mounts()
    syscalls.mount("nsenter-bench", str(folder), "tmpfs", 0)
    for i in range(count - 1):
        place = folder / str(i)
        place.mkdir()
        syscalls.mount(str(place), str(place), "", _MS_BIND)


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
    syscalls.mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0)
    for line in sys.stdin:
        print(*usage_of(line.split()), flush=True)


def _payload(function: str) -> Callable[[], object]:
    import payload
    import payload_packages

    found: Callable[[], object] = getattr(payload, function, None) or getattr(
        payload_packages, function
    )
    return found


def _calls(function: str) -> None:
    from cases.calling import NEW

    from nsenter import call
    from nsenter.options import Options

    options = Options(new=NEW)
    for _ in sys.stdin:
        started = time.perf_counter_ns()
        call(_payload(function), options=options)
        print(time.perf_counter_ns() - started, flush=True)


def _forks(function: str) -> None:
    import gc

    call = _payload(function)
    call()
    gc.collect()
    gc.freeze()
    for _ in sys.stdin:
        started = time.perf_counter_ns()
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(writer, repr(call()).encode())
            os._exit(0)
        os.close(writer)
        assert os.read(reader, 100)
        os.close(reader)
        os.waitpid(pid, 0)
        print(time.perf_counter_ns() - started, flush=True)


def _by_sandlock(noop: str) -> None:
    from sandlock import Sandbox

    readable = ["/usr", "/bin", "/lib", "/lib64", "/etc", "/proc", "/dev", noop]
    for _ in sys.stdin:
        started = time.perf_counter_ns()
        result = Sandbox(fs_readable=readable, fs_writable=["/tmp"]).run([noop])
        ended = time.perf_counter_ns()
        assert result.success, result
        print(ended - started, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "unified":
        _commands()
    elif sys.argv[1] == "call":
        _calls(sys.argv[2])
    elif sys.argv[1] == "fork":
        _forks(sys.argv[2])
    elif sys.argv[1] == "sandlock":
        _by_sandlock(sys.argv[2])
    else:
        _launches(int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
