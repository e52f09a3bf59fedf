# SPDX-License-Identifier: Apache-2.0
"""Cgroup v2: one directory (admin-guide/cgroup-v2).

Where that is, runc's rules: an absolute path is below the root of the hierarchy, another one
beside the caller's own cgroup.
"""

from __future__ import annotations

import os
import time
from errno import EBUSY, EINVAL, ENOENT

from libcontainer.cgroups import files
from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from libcontainer.errors import ContainerError
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.cgroups.layout import Layout
    from libcontainer.cgroups.oom import OomWatch
    from libcontainer.configs import Cgroup, Resources

_SIGKILL = 9
_SUBTREE = "cgroup.subtree_control"
_DELEGATE = "/sys/kernel/cgroup/delegate"
# Where the kernel has no such list, before 4.15 (cgroups(7)).
_DELEGATED = ("cgroup.procs", _SUBTREE, "cgroup.threads")
# What is not there where swap is not, and need not be to have none or as much as there is.
_SWAP_FILE, _WITHOUT_SWAP = "memory.swap.max", ("0", "max")
# Controllers that cannot be had among threads (admin-guide/cgroup-v2, "Threads").
_DOMAIN_FIELDS = ("memory", "memory_swap", "memory_reservation", "hugetlb_limit")


class UnifiedManager(Manager):
    """A cgroup of v2.

    Args:
        cgroup: of the container.
        machine: how its cgroups are laid out.
        paths: where it was made; None: to be found out. "": nowhere, the container is in the
            cgroup of its caller, who could make none.
    """

    def __init__(self, cgroup: Cgroup, machine: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        self._layout = machine
        self._root = machine.unified
        # Paths without one of v2 are of another machine.
        self._path = paths[""] if paths and "" in paths else self._find()

    def _find(self) -> str:
        path = self._cgroup.path or self._cgroup.name
        above = "" if path.startswith("/") else self._beside_us()
        return self._root + above + files.clean(path)

    def _beside_us(self) -> str:
        """The cgroup that ours is in: one with processes gives no controllers to those in it.

        Where that is not ours to change, but our own is, it has to do.
        """
        own = self._layout.own("")
        beside = own.rpartition("/")[0]
        if self._cgroup.rootless and not self._is_ours(beside) and self._is_ours(own):
            return own
        return beside

    def _is_ours(self, path: str) -> bool:
        return os.access(self._root + path, os.W_OK)

    def paths(self) -> dict[str, str]:
        return {"": self._path}

    def _processes_path(self) -> str:
        return self._path

    def below(self, paths: Mapping[str, str]) -> Manager:
        if paths.keys() != {""}:
            raise ContainerError(f"cgroup {', '.join(paths)}: cgroup v2 has one path for all")
        path = self._path + files.inner(paths[""])
        files.check_entry(path)
        inner = UnifiedManager(self._cgroup, self._layout, {"": path})
        if not inner._takes_processes():
            why = "device or resource busy: it gives controllers to those below it; use one of them"
            raise files.no_entry(path, EBUSY, why)
        return inner

    def for_further(self, init: int) -> Manager:
        # systemd in a container gives controllers on.
        if self._takes_processes():
            return self
        path = self._root + self._layout.of(init, "")
        if not path.startswith(f"{self._path}/"):
            return self
        return UnifiedManager(self._cgroup, self._layout, {"": path})

    def _takes_processes(self) -> bool:
        """Once it gives controllers to those below it, processes are in those alone ("No Internal
        Process Constraint"), but where it is one of threads."""
        return not self._read(_SUBTREE).strip() or self._read("cgroup.type").strip() != "domain"

    # ---- its directory

    def create(self) -> None:
        made: list[str] = []
        try:
            self._make(made)
            if self._cgroup.owner_uid is not None:
                self._delegate(self._cgroup.owner_uid)
        except BaseException as error:
            files.discard(made)
            if not isinstance(error, Failure) or error.errno not in files.DENIED:
                raise
            self._go_without(error)

    def _go_without(self, failure: Failure) -> None:
        """Without rights, the container is in its caller's cgroup, where nothing else was asked."""
        if not self._cgroup.rootless or self._cgroup.path:
            raise failure
        from libcontainer.cgroups.fs2_limits import limits

        if any(limits(self._cgroup.resources, lambda file: "")):
            why = f"{failure.strerror}; without a cgroup there are no limits: leave them out"
            raise Failure(failure.operation, failure.subject, failure.errno or 0, why)
        self._path = ""

    def _make(self, made: list[str]) -> None:
        for path in files.make(self._path, self._root):
            enable_controllers(os.path.dirname(path))
            made.append(path)
            self._check_type(path)
        # Where it was there already, so was all above it, but maybe without controllers.
        if not made:
            self._enable_all()
        if self._cgroup.rootless and not self._cgroup.systemd and not self.may_be_entered():
            raise Failure("enter", self._path, 13, files.explained(13))

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
        if any(getattr(self._cgroup.resources, field) for field in _DOMAIN_FIELDS):
            why = f"its type is {kind!r}: the cgroup above has processes or threads in it"
            raise Failure("limit memory in", path, EINVAL, why)
        if kind == "domain invalid":
            files.write(f"{path}/cgroup.type", "threaded")

    def _delegate(self, uid: int) -> None:
        """Give it to the container's root, as the kernel's list of files says."""
        os.chown(self._path, uid, -1)
        for file in files.read(_DELEGATE).split() or _DELEGATED:
            try:
                os.chown(f"{self._path}/{file}", uid, -1)
            except FileNotFoundError:
                continue

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

    # ---- limits

    def set(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs2_limits import limits

        with files.Changes() as changes:
            for writes in limits(resources, self._read):
                kept = [w for w in writes if not self._needs_no_swap(*w)]
                if kept:
                    self._check_there(*kept[0])
                    changes.write_all(self._path, kept)
            if not resources.skip_devices and self._path:
                self._set_devices(resources)

    def check(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs2_limits import check_memory

        check_memory(resources, self._read)

    def _needs_no_swap(self, file: str, value: str) -> bool:
        return file == _SWAP_FILE and value in _WITHOUT_SWAP and not self._has(_SWAP_FILE)

    def _set_devices(self, resources: Resources) -> None:
        from libcontainer.cgroups.ebpf import attach

        try:
            attach(self._path, resources.devices)
        except Failure as failure:
            if not (self._cgroup.rootless and failure.errno in files.DENIED):
                raise

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
            why = f"the {controller} controller is not enabled: see {_SUBTREE} of the cgroup above"
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

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.fs2_stats import stats

        return stats(self._path)

    def watch_oom(self) -> OomWatch:
        from libcontainer.cgroups.oom import UnifiedWatch

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
    missing = available - set(files.read(f"{path}/{_SUBTREE}").split())
    if not missing:
        return
    words = [f"+{controller}" for controller in sorted(missing)]
    try:
        files.write(f"{path}/{_SUBTREE}", " ".join(words))
    except Failure:
        for word in words:
            try:
                files.write(f"{path}/{_SUBTREE}", word)
            except Failure:
                continue
