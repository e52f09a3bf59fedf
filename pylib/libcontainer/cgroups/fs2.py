# SPDX-License-Identifier: Apache-2.0
"""Cgroup v2: one directory (admin-guide/cgroup-v2).

Where that is, runc's rules: an absolute path is below the root of the hierarchy, another one
beside the caller's own cgroup.
"""

from __future__ import annotations

import os
from errno import EACCES, EBUSY

from libcontainer.cgroups.base import Manager, check_entry, inner, no_entry
from libcontainer.errors import ContainerError
from nsenter._cgroups import files
from nsenter._cgroups.v2 import SUBTREE, UnifiedTree
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs import Cgroup, Resources
    from nsenter._cgroups.layout import Layout

_DELEGATE = "/sys/kernel/cgroup/delegate"
# Where the kernel has no such list, before 4.15 (cgroups(7)).
_DELEGATED = ("cgroup.procs", SUBTREE, "cgroup.threads")
# Controllers that cannot be had among threads (admin-guide/cgroup-v2, "Threads").
_DOMAIN_FIELDS = ("memory", "memory_swap", "memory_reservation", "hugetlb_limit")


class UnifiedManager(UnifiedTree, Manager):
    """A cgroup of v2.

    Args:
        cgroup: of the container.
        machine: how its cgroups are laid out.
        paths: where it was made; None: to be found out. "": nowhere, the container is in the
            cgroup of its caller, who could make none.
    """

    def __init__(self, cgroup: Cgroup, machine: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        resources = cgroup.resources
        limits_memory = any(getattr(resources, field) for field in _DOMAIN_FIELDS)
        super().__init__(machine, "", limits_memory=limits_memory)
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

    def below(self, paths: Mapping[str, str]) -> Manager:
        if paths.keys() != {""}:
            raise ContainerError(f"cgroup {', '.join(paths)}: cgroup v2 has one path for all")
        path = self._path + inner(paths[""])
        check_entry(path)
        found = UnifiedManager(self._cgroup, self._layout, {"": path})
        if not found._takes_processes():
            why = "device or resource busy: it gives controllers to those below it; use one of them"
            raise no_entry(path, EBUSY, why)
        return found

    def for_further(self, init: int) -> Manager:
        # systemd in a container gives controllers on.
        if self._takes_processes():
            return self
        path = self._root + self._layout.of(init, "")
        if not path.startswith(f"{self._path}/"):
            return self
        return UnifiedManager(self._cgroup, self._layout, {"": path})

    def _takes_processes(self) -> bool:
        """Return whether the cgroup itself can have processes.

        A cgroup that gives controllers to those below it cannot ("No Internal Process Constraint"
        of the kernel's documentation), unless it is threaded.
        """
        return not self._read(SUBTREE).strip() or self._read("cgroup.type").strip() != "domain"

    def create(self) -> None:
        try:
            super().create()
        except Failure as failure:
            if failure.errno not in files.DENIED:
                raise
            self._go_without(failure)

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
        super()._make(made)
        if self._cgroup.rootless and not self._cgroup.systemd and not self.may_be_entered():
            raise Failure("enter", self._path, EACCES, files.explained(EACCES))
        if self._cgroup.owner_uid is not None:
            self._delegate(self._cgroup.owner_uid)

    def _delegate(self, uid: int) -> None:
        """Give it to the container's root, as the kernel's list of files says."""
        os.chown(self._path, uid, -1)
        for file in files.read(_DELEGATE).split() or _DELEGATED:
            try:
                os.chown(f"{self._path}/{file}", uid, -1)
            except FileNotFoundError:
                continue

    def set(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs2_limits import limits

        with files.Changes() as changes:
            for writes in limits(resources, self._read):
                kept = [w for w in writes if not self.needs_no_swap(*w)]
                if kept:
                    self._check_there(*kept[0])
                    changes.write_all(self._path, kept)
            if not resources.skip_devices and self._path:
                self._set_devices(resources)

    def check(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs2_limits import check_memory

        check_memory(resources, self._read)

    def _set_devices(self, resources: Resources) -> None:
        from libcontainer.cgroups.ebpf import attach

        try:
            attach(self._path, resources.devices)
        except Failure as failure:
            if not (self._cgroup.rootless and failure.errno in files.DENIED):
                raise

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.fs2_stats import stats

        return stats(self._path)
