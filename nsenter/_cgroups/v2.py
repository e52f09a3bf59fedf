# SPDX-License-Identifier: Apache-2.0
"""Cgroup v2: one directory (admin-guide/cgroup-v2)."""

from __future__ import annotations

import os
import time
from errno import EBUSY, EINVAL, ENOENT

from nsenter._cgroups import files
from nsenter._cgroups.base import FROZEN, RUNNING, UNDEFINED, Tree
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nsenter._cgroups.layout import Layout
    from nsenter._cgroups.oom import OomWatch

_SIGKILL = 9
SUBTREE = "cgroup.subtree_control"
# A file that is missing if the kernel has no swap, and the values that then hold anyway.
_SWAP_FILE, _WITHOUT_SWAP = "memory.swap.max", ("0", "max")


class UnifiedTree(Tree):
    """A cgroup of v2.

    Args:
        machine: how the cgroups of this machine are laid out.
        path: its directory. "" means none: the processes are in the cgroup of the caller.
        limits_memory: refuse a cgroup of threads, which cannot have a limit of memory.
    """

    def __init__(self, machine: Layout, path: str, *, limits_memory: bool = False) -> None:
        self._layout = machine
        self._root = machine.unified or (machine.v2.mount_point if machine.v2 else "")
        self._path = path
        self._limits_memory = limits_memory

    def paths(self) -> dict[str, str]:
        return {"": self._path}

    def _processes_path(self) -> str:
        return self._path

    # ---- its directory

    def create(self) -> None:
        made: list[str] = []
        try:
            self._make(made)
        except BaseException:
            files.discard(made)
            raise

    def _make(self, made: list[str]) -> None:
        for path in files.make(self._path, self._root):
            enable_controllers(os.path.dirname(path))
            made.append(path)
            self._check_type(path)
        # Where it was there already, so was all above it, but maybe without controllers.
        if not made:
            self._enable_all()

    def _enable_all(self) -> None:
        now = self._root
        for name in self._path[len(self._root) :].strip("/").split("/"):
            enable_controllers(now)
            now = f"{now}/{name}"

    def _check_type(self, path: str) -> None:
        """Below a cgroup of threads there are only cgroups of threads."""
        kind = files.read(f"{path}/cgroup.type").strip()
        if kind in ("", "domain", "domain threaded"):
            return
        if self._limits_memory:
            why = f"its type is {kind!r}: the cgroup above has processes or threads in it"
            raise Failure("limit memory in", path, EINVAL, why)
        if kind == "domain invalid":
            files.write(f"{path}/cgroup.type", "threaded")

    def fd(self) -> int | None:
        if not self._path:
            return None
        return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def may_be_entered(self) -> bool:
        """A process is moved by who may write where its old and its new cgroup meet."""
        meeting = os.path.commonpath((self._root + self._layout.own(""), self._path))
        return os.access(f"{meeting}/{files.PROCS}", os.W_OK)

    def add(self, pid: int) -> None:
        if self._path:
            files.enter(self._path, pid)

    def destroy(self) -> None:
        if self._path and self._path != self._root:
            files.remove(self._path)

    # ---- its files

    @property
    def directory(self) -> str:
        """Its directory; "" if there is none."""
        return self._path

    def write(self, limits: Iterable[tuple[str, str]]) -> None:
        """Set limits: files and values. Without swap, swap need not be limited.

        Raises:
            Failure: a limit could not be set. All are as they were before.
        """
        with files.Changes() as changes:
            for file, value in limits:
                if not self.needs_no_swap(file, value):
                    self._check_there(file, value)
                    changes.write_all(self._path, [(file, value)])

    def needs_no_swap(self, file: str, value: str) -> bool:
        """Return whether a limit of swap need not be set, because the kernel has no swap."""
        return file == _SWAP_FILE and value in _WITHOUT_SWAP and not self._has(_SWAP_FILE)

    def _has(self, file: str) -> bool:
        return bool(self._path) and os.path.exists(f"{self._path}/{file}")

    def _read(self, file: str) -> str:
        return files.read(f"{self._path}/{file}") if self._path else ""

    def _check_there(self, file: str, value: str) -> None:
        controller = file.partition(".")[0]
        if not self._path:
            why = "this user has no cgroup: have one delegated (systemd's user session does)"
        elif self._has(file):
            return
        elif controller in self._read("cgroup.controllers").split():
            why = "this kernel does not have the file"
        else:
            why = f"the {controller} controller is not enabled: see {SUBTREE} of the cgroup above"
        raise Failure("write", f"{self._path}/{file}: {value}", ENOENT, why)

    # ---- its processes

    def freezer_state(self) -> str:
        return {"0": RUNNING, "1": FROZEN}.get(self._read("cgroup.freeze").strip(), UNDEFINED)

    def frozen_place(self) -> str:
        place = files.nearest(self._path or self._root, self._root)
        # The file also tells if a cgroup above is frozen.
        return place if place and files.table(f"{place}/cgroup.events").get("frozen") else ""

    def freeze(self) -> None:
        self._check_there("cgroup.freeze", "1")
        files.write(f"{self._path}/cgroup.freeze", "1")
        try:
            _wait_for(f"{self._path}/cgroup.events", "frozen 1")
        except Failure:
            self.thaw()
            raise

    def thaw(self) -> None:
        self._check_there("cgroup.freeze", "0")
        files.write(f"{self._path}/cgroup.freeze", "0")

    def kill(self, number: int) -> None:
        if number != _SIGKILL:
            super().kill(number)
        elif not (self._path and files.kill(self._path)):
            self._signal(number)

    def watch_oom(self) -> OomWatch:
        from nsenter._cgroups.oom import UnifiedWatch

        return UnifiedWatch(self._path)


def _wait_for(path: str, words: str) -> None:
    """Wait until a file of events, which tells poll(2) of changes, says so."""
    import select

    deadline = time.monotonic() + files.LONGEST_WAIT
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        changes = select.poll()
        changes.register(fd, select.POLLPRI)
        while words.encode() not in os.pread(fd, 4096, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                raise Failure("wait for", f"{path}: {words}", EBUSY, "a process does not stop")
            changes.poll(left * 1000)
    finally:
        close(fd)


def enable_controllers(path: str) -> None:
    """Have a cgroup pass on all its controllers to those below it; what it cannot, it does not.

    That a limit cannot be set is said when it is set.
    """
    available = set(files.read(f"{path}/cgroup.controllers").split())
    missing = available - set(files.read(f"{path}/{SUBTREE}").split())
    if not missing:
        return
    words = [f"+{controller}" for controller in sorted(missing)]
    try:
        files.write(f"{path}/{SUBTREE}", " ".join(words))
    except Failure:
        for word in words:
            try:
                files.write(f"{path}/{SUBTREE}", word)
            except Failure:
                continue
