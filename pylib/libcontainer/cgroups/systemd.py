# SPDX-License-Identifier: Apache-2.0
"""Cgroups made by systemd, as transient units (org.freedesktop.systemd1(5)).

systemd makes the unit with the process in it, and keeps the properties that it knows, lest it
write over them; what it does not know is written to the files as without it.
"""

from __future__ import annotations

import os
import time
from errno import ETIMEDOUT

from libcontainer.cgroups.base import Manager
from libcontainer.cgroups.systemd_properties import limits, says_idle, unit_properties, words
from libcontainer.errors import ConfigError
from nsenter._cgroups.files import DENIED
from nsenter._cgroups.systemd_bus import Bus
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.cgroups.systemd_properties import Property
    from libcontainer.configs import Cgroup, Resources
    from nsenter._cgroups.oom import OomWatch

_PATIENCE = 10.0
_NAP = 0.005
_ADVICE = "run without --systemd-cgroup"
_WITH_IDLE = 252  # the version from which on a CPUWeight of 0 is cpu.idle


def _is_a_users(cgroup: Cgroup) -> bool:
    """Whether the systemd to ask is that of the user's session."""
    return cgroup.rootless or os.geteuid() != 0


def unit_name(cgroup: Cgroup) -> tuple[str, str]:
    """The slice and the unit that "slice:prefix:name" means (README of runc, "systemd").

    Raises:
        ConfigError: the path has another form.
    """
    parts = cgroup.path.split(":") if cgroup.path else ["", "runc", cgroup.name]
    if len(parts) != 3 or not parts[2]:
        raise ConfigError(
            "linux.cgroupsPath",
            f"{cgroup.path!r}: with --systemd-cgroup, of the form slice:prefix:name",
        )
    parent, prefix, name = parts
    parent = parent or ("user.slice" if _is_a_users(cgroup) else "system.slice")
    if name.endswith(".slice"):
        return parent, name
    return parent, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def expand_slice(name: str) -> str:
    """Return the path of a slice: "a-b.slice" is in "a.slice" (systemd.slice(5)).

    Raises:
        ConfigError: the name is not that of a slice.
    """
    stem = name.removesuffix(".slice")
    if name == "-.slice":
        return ""
    if stem == name or "/" in name or "" in stem.split("-"):
        raise ConfigError("linux.cgroupsPath", f"{name!r} is not the name of a slice")
    path, prefix = "", ""
    for part in stem.split("-"):
        prefix = f"{prefix}-{part}" if prefix else part
        path += f"/{prefix}.slice"
    return path


def cgroup_path(cgroup: Cgroup) -> str:
    """Where systemd puts the unit, below the hierarchy's root.

    Raises:
        Failure: the user's systemd does not tell where it is.
    """
    parent, unit = unit_name(cgroup)
    above = Bus(user=True, advice=_ADVICE).root() if _is_a_users(cgroup) else ""
    return f"{above}{expand_slice(parent)}/{unit}"


class SystemdManager(Manager):
    """A unit of systemd and its cgroup.

    systemd creates the unit with the first process that is added. The limits must be set by then.

    Args:
        cgroup: the cgroup of the configuration; its path is "slice:prefix:name".
        cgroup_files: the manager of the directories.
        unified: whether the directories are of cgroup v2.
    """

    def __init__(self, cgroup: Cgroup, cgroup_files: Manager, *, unified: bool) -> None:
        self._cgroup = cgroup
        self._files = cgroup_files
        self._unified = unified
        self._slice, self._unit = unit_name(cgroup)
        self._bus = Bus(user=_is_a_users(cgroup), advice=_ADVICE)
        self._told: Resources | None = None  # systemd, of limits

    def create(self) -> None:
        """Nothing but a check: a unit is made around a process.

        Raises:
            Failure: systemd is not running.
        """
        self._bus.check(self._unit)

    def add(self, pid: int) -> None:
        """Have the unit made with the process in it, or move it into one that is there."""
        if not self._files.exists():
            self._start(pid)
            self._files.create()
        try:
            self._files.add(pid)
        except Failure as failure:
            if failure.errno not in DENIED:
                raise
            # See _can_be_entered.
            below = self._files.paths().get("", "").partition(self._unit)[2]
            self._bus.call("AttachProcessesToUnit", "ssau", self._unit, below, "1", str(pid))

    def _start(self, pid: int) -> None:
        is_slice = self._unit.endswith(".slice")
        properties = [
            *unit_properties(self._cgroup, self._slice, is_slice=is_slice),
            *self._limits(self._cgroup.resources),
        ]
        if not is_slice:
            properties.append(("PIDs", "au", ["1", str(pid)]))
        arguments = ("ssa(sv)a(sa(sv))", self._unit, "replace", *words(properties), "0")
        try:
            self._bus.call("StartTransientUnit", *arguments)
        except Failure as failure:
            if "already" not in (failure.strerror or ""):
                raise
            # One of that name has failed before, and systemd keeps it for who wants to see.
            self._bus.call("ResetFailedUnit", "s", self._unit)
            self._bus.call("StartTransientUnit", *arguments)
        self._told = self._cgroup.resources
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while (state := self._bus.unit_state(self._unit)) != "active":
            if state == "failed" or time.monotonic() > deadline:
                why = f"the unit is {state or 'not there'}; see: systemctl status {self._unit}"
                raise Failure("start", self._unit, ETIMEDOUT, why)
            time.sleep(_NAP)

    def set(self, resources: Resources) -> None:
        if not self._files.exists():
            return  # set when it is made
        # Before systemd lowers a limit: the kernel would kill what is above it.
        self._files.check(resources)
        properties = self._limits(resources)
        if properties and resources != self._told:
            self._bus.call("SetUnitProperties", "sba(sv)", self._unit, "true", *words(properties))
        self._told = resources
        self._files.set(resources)

    def _limits(self, resources: Resources) -> list[Property]:
        asks = self._unified and says_idle(resources)
        has_idle = asks and self._bus.version() >= _WITH_IDLE
        return [*limits(resources, unified=self._unified, has_idle=has_idle)]

    def destroy(self) -> None:
        if self._files.exists():
            for method, arguments in (
                ("StopUnit", ("ss", self._unit, "replace")),
                ("ResetFailedUnit", ("s", self._unit)),
            ):
                try:
                    self._bus.call(method, *arguments)
                except Failure:
                    continue  # it has ended by itself, with its last process
        self._files.destroy()

    # ---- as the files have it

    def freeze(self) -> None:
        self._files.freeze()

    def thaw(self) -> None:
        self._files.thaw()

    def freezer_state(self) -> str:
        return self._files.freezer_state()

    def frozen_place(self) -> str:
        return self._files.frozen_place()

    def pids(self, recursive: bool = True) -> list[int]:
        return self._files.pids(recursive)

    def everyone(self) -> list[int]:
        return self._files.everyone()

    def stats(self) -> dict[str, Any]:
        return self._files.stats()

    def watch_oom(self) -> OomWatch:
        return self._files.watch_oom()

    def kill(self, number: int) -> None:
        self._files.kill(number)

    def exists(self) -> bool:
        return self._files.exists()

    def paths(self) -> dict[str, str]:
        return self._files.paths()

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        return self._files.mounts()

    def below(self, paths: Mapping[str, str]) -> Manager:
        return self._of(self._files.below(paths))

    def for_further(self, init: int) -> Manager:
        return self._of(self._files.for_further(init))

    def _of(self, cgroup_files: Manager) -> Manager:
        return SystemdManager(self._cgroup, cgroup_files, unified=self._unified)

    # ---- ways into it, once it is there

    def fd(self) -> int | None:
        return self._files.fd() if self._can_be_entered() else None

    def has_tasks_fds(self) -> bool:
        return self._can_be_entered() and self._files.has_tasks_fds()

    def tasks_fds(self) -> list[int]:
        return self._files.tasks_fds() if self.has_tasks_fds() else []

    def _can_be_entered(self) -> bool:
        """Not by a user from another of his sessions: there systemd has to move the process."""
        return self._files.exists() and self._files.may_be_entered()
