# SPDX-License-Identifier: Apache-2.0
"""What tests of cgroups share: cgroups with processes, that are gone after the test."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from libcontainer.cgroups import Layout, Manager, layout
from libcontainer.cgroups.fs import LegacyManager
from libcontainer.cgroups.fs2 import UnifiedManager
from libcontainer.configs import Cgroup
from nsenter._cgroups import files
from processes import THIS_RUN, wait_until

_numbers = itertools.count()
USER = 4242


def unused_path() -> str:
    """A cgroup path that nobody else has."""
    return f"/nsx-test-{THIS_RUN}-{os.getpid()}-{next(_numbers)}"


@contextlib.contextmanager
def removed(manager: Manager) -> Iterator[Manager]:
    """A cgroup that is to be gone in the end, with all who are in it."""
    try:
        yield manager
    finally:
        manager.kill(signal.SIGKILL)
        manager.destroy()
        assert not any(Path(path).exists() for path in manager.paths().values() if path)


def remove(folder: Path) -> None:
    """Remove a cgroup whose last process may be ending just now."""

    def is_removed() -> bool:
        try:
            folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return False
        return True

    wait_until(is_removed, f"{folder} is in use")


def v1_manager(path: str = "", machine: Layout | None = None, **fields: Any) -> LegacyManager:
    cgroup = Cgroup(path=path or unused_path(), **fields)
    return LegacyManager(cgroup, machine or layout(), None)


def v2_root() -> str:
    """Where the unified hierarchy is, with or without controllers in it."""
    here = layout()
    assert here.v2 is not None, (
        "cgroup2 is not mounted: mount -t cgroup2 none /sys/fs/cgroup/unified"
    )
    return here.v2.mount_point


def v2_layout() -> Layout:
    """This machine as though it had the unified hierarchy alone."""
    own = Path("/proc/self/cgroup").read_text().splitlines()
    only = "\n".join(line for line in own if line.startswith("0::"))
    return Layout(f"30 1 0:38 / {v2_root()} rw - cgroup2 cgroup2 rw\n", only)


def v2_manager(path: str = "", **fields: Any) -> UnifiedManager:
    return UnifiedManager(Cgroup(path=path or unused_path(), **fields), v2_layout(), None)


@contextlib.contextmanager
def sleeper(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing, or what it is told."""
    child = subprocess.Popen(argv or ("sleep", "1000"), stdin=subprocess.DEVNULL)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


@contextlib.contextmanager
def inside(manager: Manager, script: str) -> Iterator[subprocess.Popen[bytes]]:
    """A shell's script in a cgroup: it starts when it is there, with all that it makes."""
    child = subprocess.Popen(["sh", "-c", f"read go; {script}"], stdin=subprocess.PIPE)
    assert child.stdin is not None
    try:
        manager.add(child.pid)
        child.stdin.write(b"go\n")
        child.stdin.close()
        yield child
    finally:
        child.kill()
        child.wait()


def value(manager: Manager, controller: str, file: str) -> str:
    return files.read(f"{manager.paths()[controller]}/{file}").strip()


def cgroups_of(pid: int | str) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    split = (line.split(":", 2) for line in lines)
    return {name: path for _, names, path in split for name in names.split(",")}


def in_child(work: Callable[[], str]) -> str:
    """What `work` returns, or the error that it raises, in a child."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    written = b""
    while part := os.read(reading, 1 << 16):
        written += part
    os.close(reading)
    os.waitpid(child, 0)
    return written.decode()


def as_user(work: Callable[[], str], uid: int = USER) -> str:
    """As `in_child`, without privileges."""

    def without() -> str:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        return work()

    return in_child(without)
