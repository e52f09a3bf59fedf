# SPDX-License-Identifier: Apache-2.0
"""Cgroups made by systemd, as transient scopes (org.freedesktop.systemd1(5)).

systemd makes the scope with the process in it, and keeps the properties that it knows; what it
does not know is written to the files as without it.
"""

from __future__ import annotations

import os
import subprocess
import time
from errno import ENOENT, ETIMEDOUT

from libcontainer.cgroups.base import Manager
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from libcontainer.configs import Cgroup, Resources

_RUNNING = "/run/systemd/system"
_SERVICE = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
_INTERFACE = "org.freedesktop.systemd1.Manager"
_PATIENCE = 10.0
_NAP = 0.005
_DEFAULT_PERIOD = 100_000
_UNLIMITED = 2**64 - 1


def unit_name(cgroup: Cgroup) -> tuple[str, str]:
    """The slice and the scope that "slice:prefix:name" means."""
    parts = cgroup.path.split(":") if cgroup.path else ["", "pyrunc", cgroup.name]
    slice, prefix, name = parts
    rootless = os.geteuid() != 0
    slice = slice or ("user.slice" if rootless else "system.slice")
    if name.endswith(".slice"):
        return slice, name
    return slice, f"{prefix}-{name}.scope" if prefix else f"{name}.scope"


def expand_slice(slice: str) -> str:
    """ "a-b.slice" is in "a.slice": the path of a slice (systemd.slice(5))."""
    if slice == "-.slice":
        return ""
    path, prefix = "", ""
    for part in slice.removesuffix(".slice").split("-"):
        prefix = f"{prefix}-{part}" if prefix else part
        path += f"/{prefix}.slice"
    return path


def properties(cgroup: Cgroup, slice: str, unit: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, D-Bus signature and words of each property of the unit."""
    yield "Description", "s", [f"libcontainer container {cgroup.name}"]
    if not unit.endswith(".slice"):
        yield "Slice", "s", [slice]
        yield "Delegate", "b", ["true"]
    yield "DefaultDependencies", "b", ["false"]
    for name in ("MemoryAccounting", "CPUAccounting", "IOAccounting", "TasksAccounting"):
        yield name, "b", ["true"]
    yield from _limits(cgroup.resources)
    for name, value in cgroup.systemd_props.items():
        yield name, *_variant(value)


def _limits(resources: Resources) -> Iterator[tuple[str, str, list[str]]]:
    from libcontainer.cgroups.fs2 import cpu_weight

    if resources.memory:
        amount = resources.memory if resources.memory > 0 else _UNLIMITED
        yield "MemoryMax", "t", [str(amount)]
    if resources.cpu_shares:
        yield "CPUWeight", "t", [str(cpu_weight(resources.cpu_shares))]
    if resources.cpu_quota and resources.cpu_quota > 0:
        period = resources.cpu_period or _DEFAULT_PERIOD
        # systemd counts in per cent of a CPU, rounded to 10 ms in a second.
        per_second = -(-resources.cpu_quota * 1_000_000 // period // 10_000) * 10_000
        yield "CPUQuotaPerSecUSec", "t", [str(per_second)]
    if resources.pids_limit:
        limit = resources.pids_limit if resources.pids_limit > 0 else _UNLIMITED
        yield "TasksMax", "t", [str(limit)]


def _variant(text: str) -> tuple[str, list[str]]:
    """The value of an annotation org.systemd.property.NAME, in GVariant's text form."""
    if text in ("true", "false"):
        return "b", [text]
    kind, _, value = text.partition(" ")
    kinds = {"uint64": "t", "int64": "x", "uint32": "u", "int32": "i", "byte": "y"}
    if kind in kinds:
        return kinds[kind], [value]
    if text.lstrip("-").isdecimal():
        return "i", [text]
    return "s", [text.strip("'\"")]


class SystemdManager(Manager):
    """A scope of systemd's, and the cgroup that it is.

    Args:
        cgroup: where it is: "slice:prefix:name".
        files: who manages the directories.
    """

    def __init__(self, cgroup: Cgroup, files: Manager) -> None:
        self._cgroup = cgroup
        self._files = files
        self._slice, self._unit = unit_name(cgroup)

    def create(self) -> None:
        """Nothing yet: a scope is made around a process."""
        if not os.path.isdir(_RUNNING):
            raise Failure(
                "make a systemd unit", self._unit, ENOENT,
                "systemd is not running on this machine; run without --systemd-cgroup",
            )  # fmt: skip

    def add(self, pid: int) -> None:
        words: list[str] = []
        every = list(properties(self._cgroup, self._slice, self._unit))
        for name, kind, values in every:
            words += [name, kind, *values]
        words += ["PIDs", "au", "1", str(pid)]
        count = str(len(every) + 1)
        self._call(
            "StartTransientUnit", "ssa(sv)a(sa(sv))", self._unit, "replace", count, *words, "0"
        )
        deadline = time.monotonic() + _PATIENCE
        while not self._files.exists():
            if time.monotonic() > deadline:
                raise Failure("wait for systemd", self._unit, ETIMEDOUT)
            time.sleep(_NAP)
        self._files.create()
        self._files.add(pid)

    def _call(self, method: str, *words: str) -> None:
        bus = [] if os.geteuid() == 0 else ["--user"]
        command = ["busctl", *bus, "call", *_SERVICE, _INTERFACE, method, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            raise Failure("call systemd", method, ENOENT, "busctl is not installed") from None
        if done.returncode:
            raise Failure("call systemd", f"{method} {self._unit}", 5, done.stderr.strip())

    def set(self, resources: Resources) -> None:
        if self._files.exists():
            self._files.set(resources)

    def destroy(self) -> None:
        if self._files.exists():
            self._call("StopUnit", "ss", self._unit, "replace")
        self._files.destroy()

    def freeze(self) -> None:
        self._files.freeze()

    def thaw(self) -> None:
        self._files.thaw()

    def freezer_state(self) -> str:
        return self._files.freezer_state()

    def pids(self, recursive: bool = True) -> list[int]:
        return self._files.pids(recursive)

    def stats(self) -> dict[str, Any]:
        return self._files.stats()

    def oom_events(self) -> Iterator[None]:
        return self._files.oom_events()

    def kill(self, number: int) -> None:
        self._files.kill(number)

    def exists(self) -> bool:
        return self._files.exists()

    def paths(self) -> dict[str, str]:
        return self._files.paths()

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        return self._files.mounts()

    def below(self, name: str) -> Manager:
        return self._files.below(name)
