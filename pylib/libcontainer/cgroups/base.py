# SPDX-License-Identifier: Apache-2.0
"""What every manager of a cgroup can do, and the file handling that they share."""

from __future__ import annotations

import os
import time
from errno import EBUSY, EEXIST, ENODEV, ENOENT, ESRCH

from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.configs import Resources

RUNNING, FROZEN, UNDEFINED = "running", "frozen", "undefined"

_PROCS = "cgroup.procs"
_LONGEST_REMOVAL = 5.0
_FIRST_NAP = 0.001
_LONGEST_NAP = 0.1

_HINTS = {
    EBUSY: "in use: below what is used already, or a cgroup with processes in it",
    ENOENT: "this kernel or its configuration does not have it",
}


class Manager:
    """The cgroup of a container."""

    def create(self) -> None:
        """Make it; nobody is in it yet."""
        raise NotImplementedError

    def fd(self) -> int | None:
        """A descriptor of it to clone into; None where processes have to be moved (v1)."""
        return None

    def add(self, pid: int) -> None:
        """Move a process into it."""
        raise NotImplementedError

    def set(self, resources: Resources) -> None:
        """Set what is said of its limits. Raises Failure, which names the file and the value."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop all its processes. Raises Failure where that does not come about in time."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Let them go on."""
        raise NotImplementedError

    def freezer_state(self) -> str:
        """RUNNING, FROZEN, or UNDEFINED where it has none."""
        raise NotImplementedError

    def pids(self, recursive: bool = True) -> list[int]:
        """Who is in it, and with `recursive` in those below it."""
        path = self._processes_path()
        return sorted(set(_pids(path, recursive))) if path else []

    def stats(self) -> dict[str, Any]:
        """What it uses, as "data" of `runc events --stats`."""
        raise NotImplementedError

    def oom_events(self) -> Iterator[None]:
        """One item each time that the kernel has killed for memory in it, until it is gone."""
        raise NotImplementedError

    def kill(self, number: int) -> None:
        """Send a signal to every process in it and below."""
        for pid in self.pids():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue

    def destroy(self) -> None:
        """Remove it and all below it; what is not there is no error.

        Raises:
            Failure: there are processes in it that do not end.
        """
        for path in set(self.paths().values()):
            remove(path)

    def exists(self) -> bool:
        """Whether it has been made."""
        path = self._processes_path()
        return bool(path) and os.path.isdir(path)

    def paths(self) -> dict[str, str]:
        """Its directories, by controller; with "" for its key that of cgroup v2."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        """For mounts of the type "cgroup" in the container (v1): name, controllers, directory."""
        return []

    def below(self, name: str) -> Manager:
        """One of a cgroup below it, for a process that is to run in that."""
        raise NotImplementedError

    def _processes_path(self) -> str:
        raise NotImplementedError


def write(path: str, value: str) -> None:
    """Write a cgroup's file. Raises Failure, which names the file and the value."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)
    except OSError as error:
        number = error.errno or 0
        hint = f" ({_HINTS[number]})" if number in _HINTS else ""
        raise Failure(
            "write", f"{path}: {value!r}", number, f"{os.strerror(number)}{hint}"
        ) from None


def read(path: str) -> str:
    """A cgroup's file; "" where it is not there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        parts = []
        while part := os.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode("utf-8", "replace")
    except OSError as error:
        if error.errno not in (ENODEV, ESRCH):
            raise
        return ""
    finally:
        os.close(fd)


def make(path: str) -> None:
    """Make a cgroup and those that it is in."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        pass
    except FileNotFoundError:
        make(os.path.dirname(path))
        make(path)
    except OSError as error:
        raise Failure("mkdir", path, error.errno or 0) from None


def add(path: str, pid: int) -> None:
    """Move a process into the cgroup at `path`."""
    write(f"{path}/{_PROCS}", str(pid))


def _pids(path: str, recursive: bool) -> Iterator[int]:
    yield from map(int, read(f"{path}/{_PROCS}").split())
    if recursive:
        for child in _children(path):
            yield from _pids(child, True)


def _children(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def remove(path: str) -> None:
    """Remove a cgroup with those below it. A process that has just ended holds it for a while."""
    deadline = time.monotonic() + _LONGEST_REMOVAL
    nap = _FIRST_NAP
    while True:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno not in (EBUSY, EEXIST) or time.monotonic() > deadline:
                raise Failure("rmdir", path, error.errno or 0) from None
            for child in _children(path):
                remove(child)
        else:
            return
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP)


def clean(path: str) -> str:
    """A path from a configuration, which never leads out of its hierarchy."""
    return os.path.normpath("/" + path)


def wait_until(done: Any, what: str, path: str) -> None:
    """Wait for a state of the kernel's to come about."""
    deadline = time.monotonic() + _LONGEST_REMOVAL
    nap = _FIRST_NAP / 10
    while not done():
        if time.monotonic() > deadline:
            raise Failure(what, path, EBUSY, "its processes do not stop")
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP)
