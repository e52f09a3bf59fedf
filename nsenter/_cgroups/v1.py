# SPDX-License-Identifier: Apache-2.0
"""Cgroup v1 and the hybrid layout: one hierarchy for each controller, a directory in each.

A tree of processes is in a cgroup of every hierarchy that it needs, v2's too if that is mounted.
"""

from __future__ import annotations

import os
from errno import ENOENT

from nsenter._cgroups import files
from nsenter._cgroups.base import FROZEN, RUNNING, UNDEFINED, Tree
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nsenter._cgroups.layout import Layout
    from nsenter._cgroups.oom import OomWatch

_SIGKILL = 9
_CPUSET_FILES = ("cpuset.cpus", "cpuset.mems")
# Hierarchies whose processes count as those of the tree: it cannot take them anywhere else.
_OF_PROCESSES = ("devices", "pids", "memory", "freezer")
_THAW_EVERY = 10
_NOT_RUNNING = ("FREEZING", "FROZEN")


class LegacyTree(Tree):
    """A cgroup in hierarchies of v1.

    Args:
        machine: how the cgroups of this machine are laid out.
        paths: the directories by controller.
        may_lack: leave out the hierarchies in which this user has no rights.
    """

    def __init__(
        self, machine: Layout, paths: Mapping[str, str], *, may_lack: bool = False
    ) -> None:
        self._layout = machine
        self._roots = {c: h.mount_point for h in machine.all() for c in h.controllers}
        self._paths = dict(paths)
        self._may_lack = may_lack

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
        """Leave a hierarchy out, if that is allowed: a limit of it is refused when it is set."""
        if not (self._may_lack and failure.errno in files.DENIED):
            raise failure
        self._paths = {c: p for c, p in self._paths.items() if p != directory}

    def create_entry(self) -> None:
        if self._is_made_at_once():
            self.create()
        elif "" in self._paths:
            self._make({self._paths[""]: self._roots[""]})

    def create_rest(self) -> None:
        if not self._is_made_at_once():
            self.create()

    def _is_made_at_once(self) -> bool:
        """Return whether it must be known at once which of its parts can be made."""
        return self._may_lack

    def fd(self) -> int | None:
        if "" not in self._paths:
            return None
        return os.open(self._paths[""], os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def has_tasks_fds(self) -> bool:
        return bool(self._paths.keys() - {""})

    def tasks_fds(self) -> list[int]:
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

    # ---- files of its controllers

    def has(self, controller: str, file: str) -> bool:
        """Return whether a controller has this file."""
        return os.path.exists(f"{self._paths.get(controller, '')}/{file}")

    def write(self, limits: Iterable[tuple[str, list[tuple[str, str]]]]) -> None:
        """Set limits: for each controller, files and values.

        Raises:
            Failure: a limit could not be set. All are as they were before.
        """
        with files.Changes() as changes:
            for controller, writes in limits:
                changes.write_all(self._directory(controller, writes[0]), writes)

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

    def watch_oom(self) -> OomWatch:
        from nsenter._cgroups.oom import LegacyWatch

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
