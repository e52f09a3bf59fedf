# SPDX-License-Identifier: Apache-2.0
"""The files and directories of a cgroup, and errors that name them."""

from __future__ import annotations

import os
import time
from errno import (
    EACCES,
    EBUSY,
    EEXIST,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOTEMPTY,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
    EROFS,
    ESRCH,
)

from nsenter._host import procfs
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

    Writes = Iterable[tuple[str, str]]

PROCS = "cgroup.procs"
_THREADS, _TYPE = "cgroup.threads", "cgroup.type"
LONGEST_WAIT = 5.0
# What the kernel says to who has no rights there.
DENIED = frozenset((EACCES, EPERM, EROFS))

_FIRST_NAP = 0.0001
_LONGEST_NAP = 0.05

_HINTS = {
    EACCES: "have a cgroup delegated, or run as root",
    EBUSY: "in use: a limit below what is used already, or processes that are in the way",
    EINVAL: "the kernel does not take this value here; the cgroup above may limit it",
    ENOENT: "the controller is not enabled for this cgroup, or the kernel does not have it",
    EOPNOTSUPP: "a cgroup with processes or threads in it cannot do that",
    EPERM: "have a cgroup delegated, or run as root; a cgroup cannot have more than that above it",
    ERANGE: "out of the range that the kernel takes",
    EROFS: "the cgroup file system is mounted read-only",
}


def clean(path: str) -> str:
    """A path from a configuration, which never leads out of where it is put: "" or "/…"."""
    kept: list[str] = []
    for name in path.split("/"):
        if name == "..":
            del kept[-1:]
        elif name not in ("", "."):
            kept.append(name)
    return "".join(f"/{name}" for name in kept)


def write(path: str, value: str) -> None:
    """Write a cgroup's file.

    Raises:
        Failure: names the file and the value.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            close(fd)
    except OSError as error:
        number = error.errno or 0
        raise Failure("write", f"{path}: {value}", number, explained(number)) from None


def explained(number: int) -> str:
    """An errno with what it means for a cgroup."""
    hint = f" ({_HINTS[number]})" if number in _HINTS else ""
    return f"{os.strerror(number)}{hint}"


class Changes:
    """Files of a cgroup that are written, all of them or none.

    As a context, what was written before an error is taken back: an update that is refused halfway
    leaves every limit as it was.
    """

    def __init__(self) -> None:
        self._before: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exc_info: object) -> None:
        if kind is not None:
            self._take_back()

    def write_all(self, directory: str, writes: Writes) -> None:
        """Write files that the kernel checks against each other.

        Memory may not be above memory and swap, a quota not below its burst: what is refused with
        what the others are is written again when they are what they are to be.

        Raises:
            Failure: a value is refused then, too.
        """
        refused: list[tuple[str, str]] = []
        for file, value in writes:
            try:
                self._write(directory, file, value)
            except Failure as failure:
                if failure.errno != EINVAL:
                    raise
                refused.append((file, value))
        for file, value in refused:
            self._write(directory, file, value)

    def _write(self, directory: str, file: str, value: str) -> None:
        path = f"{directory}/{file}"
        try:
            before = _taking_back(file, value, read(path))
        except OSError:  # it can only be written, as memory.reclaim
            before = None
        write(path, value)
        if before is not None:
            self._before.append((path, before))

    def _take_back(self) -> None:
        """Write the old values again, twice: the kernel checks some against each other."""
        left = self._before[::-1]
        for _ in range(2):
            left = [(path, value) for path, value in left if not _is_written(path, value)]


def _is_written(path: str, value: str) -> bool:
    try:
        write(path, value)
    except Failure:
        return False
    return True


# Files with a line for each device, and how such a line removes the limit of a device.
_WITHOUT_LIMIT = {
    "io.max": "rbps=max wbps=max riops=max wiops=max",
    "io.weight": "default",
    "rdma.max": "hca_handle=max hca_object=max",
    **{
        f"blkio.throttle.{way}_{unit}_device": "0"
        for way in ("read", "write")
        for unit in ("bps", "iops")
    },
}


def _taking_back(file: str, value: str, text: str) -> str | None:
    """Return the line that restores a file after `value` has been written to it; None if unknown.

    Args:
        file: the name of the file.
        value: what was written.
        text: the content of the file before.
    """
    key = value.partition(" ")[0]
    if file in _WITHOUT_LIMIT and key != "default":
        lines = [line for line in text.splitlines() if line.startswith(f"{key} ")]
        return lines[0] if lines else f"{key} {_WITHOUT_LIMIT[file]}"
    lines = text.splitlines()
    if file == "memory.oom_control" and lines:
        return lines[0].partition(" ")[2]
    if len(lines) > 1 and key != "default":
        return None
    return lines[0] if lines and lines[0] else "\n"


def read(path: str) -> str:
    """A file's text; "" where it is not there, or its cgroup is no more."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "surrogateescape")
    except OSError as error:
        if error.errno not in (ENODEV, ESRCH, EOPNOTSUPP):
            raise
        return ""
    finally:
        close(fd)


def table(path: str) -> dict[str, int]:
    """A flat keyed file: "name number" in each line."""
    pairs = (line.split() for line in read(path).splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].isdecimal()}


def kill(path: str) -> bool:
    """Kill all in a cgroup of v2 and below it, by its cgroup.kill.

    Returns:
        False: the kernel has no such file, before 5.14, or the cgroup is one of threads.

    Raises:
        Failure: this process may not do so.
    """
    try:
        write(f"{path}/cgroup.kill", "1")
    except Failure as failure:
        if failure.errno not in (ENOENT, ENODEV, EOPNOTSUPP):
            raise
        return not os.path.isdir(path)  # nobody is in one that is gone
    return True


def nearest(path: str, root: str) -> str:
    """Return the cgroup at `path`, or the nearest above it that exists; "" if it is the root."""
    while path not in (root, "/", "") and not os.path.isdir(path):
        path = os.path.dirname(path)
    return "" if path == root else path


def make(path: str, root: str) -> Iterator[str]:
    """Make a cgroup and those that it is in, from the top.

    Args:
        path: its directory, below `root`.

    Yields:
        each of them that was made, before the next.

    Raises:
        Failure: names the one that cannot be made.
    """
    if os.path.isdir(path):
        return
    now = root
    for name in path[len(root) :].strip("/").split("/"):
        now = f"{now}/{name}"
        try:
            os.mkdir(now, 0o755)
        except FileExistsError:
            continue
        except OSError as error:
            number = error.errno or 0
            raise Failure("mkdir", now, number, explained(number)) from None
        yield now


def discard(made: list[str]) -> None:
    """Take back what was made, last first."""
    for path in reversed(made):
        try:
            os.rmdir(path)
        except OSError:
            continue


def enter(path: str, pid: int) -> None:
    """Move a process into the cgroup at `path`."""
    write(f"{path}/{PROCS}", str(pid))


def pids(path: str, recursive: bool) -> Iterator[int]:
    """Who is in it, and with `recursive` in those below."""
    # As a pid for kill(2), 0 is the own process group of the caller.
    yield from filter(None, _members(path, recursive))


def has_processes(path: str) -> bool:
    """Whether anybody is in it or below, also in a pid namespace that is not below ours."""
    return any(True for _ in _members(path, True))


def _members(path: str, recursive: bool) -> Iterator[int]:
    """Yield the pids of the processes in a cgroup.

    A process that is not in this PID namespace, or that is being removed, is reported as 0.
    """
    pids = read(f"{path}/{PROCS}").split()
    if not pids and read(f"{path}/{_TYPE}").strip() == "threaded":
        pids = _processes_of(read(f"{path}/{_THREADS}").split())
    yield from map(int, pids)
    if recursive:
        for child in _children(path):
            yield from _members(child, True)


def _processes_of(threads: list[str]) -> list[str]:
    """Return the processes of threads, without those that have ended.

    A threaded cgroup lists only threads (cgroups(7)).
    """
    found = []
    for thread in threads:
        try:
            found.append(procfs.status(procfs.read(f"/proc/{thread}/status"))["Tgid"])
        except (OSError, KeyError):
            if thread == "0":
                found.append(thread)
    return found


def _children(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def remove(path: str) -> None:
    """Remove a cgroup with those below it. A process that has just ended holds it for a while.

    Raises:
        Failure: there are processes in it that do not end.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    nap = _FIRST_NAP
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            number = error.errno or 0
            if number not in (EBUSY, EEXIST, ENOTEMPTY) or time.monotonic() > deadline:
                raise Failure("rmdir", path, number, explained(number)) from None
            for child in _children(path):
                remove(child)
        else:
            return
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP)


def wait_until(done: Callable[[int], bool], operation: str, path: str) -> None:
    """Wait for a state of the kernel's to come about; `done` is told how often it was asked.

    Raises:
        Failure: it does not, in five seconds.
    """
    deadline = time.monotonic() + LONGEST_WAIT
    nap, asked = _FIRST_NAP, 0
    while not done(asked):
        if time.monotonic() > deadline:
            why = f"not done in {LONGEST_WAIT:.0f} s: a process does not stop, or new ones come"
            raise Failure(operation, path, EBUSY, why)
        time.sleep(nap)
        nap, asked = min(nap * 2, _LONGEST_NAP), asked + 1
