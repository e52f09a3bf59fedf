# SPDX-License-Identifier: Apache-2.0
"""Cgroup v1 and the hybrid layout: one hierarchy for each controller, a directory in each.

A container is in the same cgroup of every hierarchy, those without controllers and v2's too, as
runc has it. Where that is, runc's rules: an absolute path is below the root of each hierarchy,
another one below the caller's own cgroup.
"""

from __future__ import annotations

import os
from errno import ENOENT

from libcontainer.cgroups import files
from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from libcontainer.errors import ConfigError, ContainerError
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
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# Whose processes count as the container's: those that it cannot take anywhere else.
_OF_PROCESSES = ("devices", "pids", "memory", "freezer")
_THAW_EVERY = 10
_NOT_RUNNING = ("FREEZING", "FROZEN")


class LegacyManager(Manager):
    """A cgroup in every hierarchy of v1.

    Args:
        cgroup: of the container.
        machine: how its cgroups are laid out.
        paths: where it was made; None: to be found out.
    """

    def __init__(self, cgroup: Cgroup, machine: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        self._layout = machine
        self._roots = {c: h.mount_point for h in machine.all() for c in h.controllers}
        self._paths = dict(paths) if paths is not None else self._find()

    def _find(self) -> dict[str, str]:
        path = self._cgroup.path or self._cgroup.name
        inner = files.clean(path)
        below_own = not path.startswith("/")
        return {
            controller: root + (self._layout.own(controller) if below_own else "") + inner
            for controller, root in self._roots.items()
        }

    def paths(self) -> dict[str, str]:
        return dict(self._paths)

    def _directories(self) -> dict[str, str]:
        """Each once, with the mount point of its hierarchy."""
        return {path: self._roots.get(c, "/") for c, path in self._paths.items()}

    def _processes_path(self) -> str:
        for controller in (*_OF_PROCESSES, *self._paths):
            if controller in self._paths:
                return self._paths[controller]
        return ""

    def everyone(self) -> list[int]:
        found = (files.pids(path, True) for path in self._directories() if os.path.isdir(path))
        return sorted({pid for pids in found for pid in pids})

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        found = []
        for hierarchy in self._layout.hierarchies:
            first = hierarchy.controllers[0]
            # Where the caller may make none, the container is in his.
            own = hierarchy.mount_point + self._layout.own(first)
            found.append((hierarchy.name, hierarchy.controllers, self._paths.get(first, own)))
        return found

    def below(self, paths: Mapping[str, str]) -> Manager:
        found = dict(self._paths)
        for controller, path in paths.items():
            if controller and controller not in found:
                raise ContainerError(f"unknown controller {controller}")
            for one in (controller,) if controller else self._paths:
                found[one] = self._paths[one] + files.inner(path)
        for directory in found.values():
            files.check_entry(directory)
        return LegacyManager(self._cgroup, self._layout, found)

    # ---- its directories

    def create(self) -> None:
        self._make(self._directories())

    def _make(self, directories: Mapping[str, str]) -> None:
        made: list[str] = []
        try:
            for directory, root in directories.items():
                self._create(directory, root, made)
            if self._paths.get("cpuset") in directories:
                _inherit_cpuset(self._paths["cpuset"], self._roots["cpuset"])
        except BaseException:
            files.discard(made)
            raise

    def _create(self, directory: str, root: str, made: list[str]) -> None:
        try:
            for path in files.make(directory, root):
                made.append(path)
        except Failure as failure:
            self._pass_over(failure, directory)

    def _pass_over(self, failure: Failure, directory: str) -> None:
        """Without rights and without a path that was asked for, there is no such cgroup: a limit
        of it is refused when it is set."""
        if not (self._cgroup.rootless and not self._cgroup.path and failure.errno in files.DENIED):
            raise failure
        self._paths = {c: p for c, p in self._paths.items() if p != directory}

    def create_entry(self) -> None:
        if self._cgroup.rootless:  # which of it can be made has to be known
            self.create()
        elif "" in self._paths:
            self._make({self._paths[""]: self._roots[""]})

    def create_rest(self) -> None:
        if not self._cgroup.rootless:
            self.create()

    def fd(self) -> int | None:
        if "" not in self._paths:
            return None
        return os.open(self._paths[""], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def has_doors(self) -> bool:
        return bool(self._paths.keys() - {""})

    def doors(self) -> list[int]:
        fds: list[int] = []
        try:
            for directory in self._directories():
                if directory != self._paths.get(""):
                    fds.append(os.open(f"{directory}/tasks", os.O_WRONLY | os.O_CLOEXEC))
        except BaseException:
            for fd in fds:
                close(fd)
            raise
        return fds

    def add(self, pid: int) -> None:
        for directory in self._directories():
            try:
                files.enter(directory, pid)
            except Failure as failure:
                self._pass_over(failure, directory)

    def destroy(self) -> None:
        failures = []
        for directory, root in self._directories().items():
            try:
                if directory != root:
                    files.remove(directory)
            except Failure as failure:  # the others go all the same
                failures.append(failure)
        if failures:
            raise failures[0]

    # ---- limits

    def set(self, resources: Resources) -> None:
        if resources.unified:
            raise ConfigError("linux.resources.unified", "this machine has cgroup v1; leave it out")
        from libcontainer.cgroups.fs_limits import limits

        with files.Changes() as changes:
            for controller, writes in limits(resources, self._read):
                changes.write_all(self._directory(controller, writes[0]), writes)
            if not resources.skip_devices:
                self._set_devices(resources)

    def check(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs_limits import check_memory

        check_memory(resources, self._read)

    def _set_devices(self, resources: Resources) -> None:
        if "devices" not in self._paths:
            if not self._cgroup.rootless:
                self._directory("devices", ("devices.deny", "a"))
            return
        from libcontainer.cgroups.devices import apply

        try:
            apply(self._paths["devices"], resources.devices)
        except Failure as failure:
            if not (self._cgroup.rootless and failure.errno in files.DENIED):
                raise

    def _directory(self, controller: str, write: tuple[str, str]) -> str:
        directory = self._paths.get(controller)
        if directory is None:
            why = (
                f"container could not join or create cgroup, for {write[0]}: {write[1]} (no "
                f"{controller} hierarchy is mounted, or this user may make no cgroup in it)"
            )
            raise Failure(f"cannot set {controller} limit", "", ENOENT, why)
        return directory

    def _read(self, controller: str, file: str) -> str:
        return files.read(f"{self._paths.get(controller, '')}/{file}")

    # ---- its processes

    def freezer_state(self) -> str:
        # Its own, not that of a frozen cgroup that it is in.
        own = self._read("freezer", "freezer.self_freezing").strip()
        return {"0": RUNNING, "1": FROZEN}.get(own, UNDEFINED)

    def frozen_place(self) -> str:
        root = self._roots.get("freezer", "")
        place = files.nearest(self._paths.get("freezer", root), root)
        # The file also tells if a cgroup above is frozen.
        is_frozen = place and files.read(f"{place}/freezer.state").strip() in _NOT_RUNNING
        return place if is_frozen else ""

    def freeze(self) -> None:
        directory = self._directory("freezer", ("freezer.state", "FROZEN"))
        state = f"{directory}/freezer.state"

        def frozen(asked: int) -> bool:
            # Written again, it freezes a process made meanwhile; thawed in between, one that
            # waits for another in the kernel (seen by runc under forks without end).
            if asked % _THAW_EVERY == _THAW_EVERY - 1:
                files.write(state, "THAWED")
            files.write(state, "FROZEN")
            return files.read(state).strip() == "FROZEN"

        try:
            files.wait_until(frozen, "freeze", directory)
        except Failure:
            self.thaw()
            raise

    def thaw(self) -> None:
        directory = self._directory("freezer", ("freezer.state", "THAWED"))
        files.write(f"{directory}/freezer.state", "THAWED")

    def kill(self, number: int) -> None:
        """As for any; none gets away by forking, and one that is frozen is let die."""
        unified = self._paths.get("", "")
        if number != _SIGKILL:
            super().kill(number)
            return
        if not (unified and files.kill(unified)):
            self._hold_still()
        try:
            self._signal(number)
        finally:
            if self.freezer_state() != UNDEFINED:  # a frozen process dies when it is thawed
                self.thaw()

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.fs_stats import stats

        return stats(self._paths)

    def watch_oom(self) -> OomWatch:
        from libcontainer.cgroups.oom import LegacyWatch

        return LegacyWatch(self._directory("memory", ("cgroup.event_control", "")))


def _inherit_cpuset(path: str, root: str) -> None:
    """A cgroup without CPUs or memory nodes takes no process: those of its parent are its own."""
    missing = [f for f in _CPUSET_FILES if not files.read(f"{path}/{f}").strip()]
    if not missing or path == root:
        return
    parent = os.path.dirname(path)
    _inherit_cpuset(parent, root)
    for file in missing:
        files.write(f"{path}/{file}", files.read(f"{parent}/{file}").strip())
