# SPDX-License-Identifier: Apache-2.0
"""Cgroup v2: one directory, files as in the kernel's admin-guide/cgroup-v2.

Values of OCI, which are v1's, are converted as runc and crun do.
"""

from __future__ import annotations

import os
from errno import EACCES, ENOENT, EPERM, EROFS

from libcontainer.cgroups import base
from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from libcontainer.cgroups.layout import Layout
    from libcontainer.configs import Cgroup, Resources

_SUBTREE = "cgroup.subtree_control"
_DELEGATE = "/sys/kernel/cgroup/delegate"
_DELEGATED = ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads")
_THROTTLES = (
    ("blkio_throttle_read_bps_device", "rbps"),
    ("blkio_throttle_write_bps_device", "wbps"),
    ("blkio_throttle_read_iops_device", "riops"),
    ("blkio_throttle_write_iops_device", "wiops"),
)
_DEFAULT_PERIOD = 100_000


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 … 10000) for v1's shares (2 … 262144)."""
    shares = min(max(shares, 2), 262_144)
    return 1 + (shares - 2) * 9999 // 262_142


def io_weight(weight: int) -> int:
    """io.weight (1 … 10000) for v1's weight (10 … 1000)."""
    return 1 + (weight - 10) * 9999 // 990


def _or_max(value: int) -> str:
    return str(value) if value >= 0 else "max"


def swap_max(memory: int | None, memory_swap: int) -> str:
    """memory.swap.max, which is swap alone, for v1's limit of both together."""
    if memory_swap == -1:
        return "max"
    if not memory or memory < 0 or memory_swap < memory:
        raise Failure(
            "set", f"memory.swap.max for {memory_swap}", 22,
            "memory and swap together must be no less than memory, which has to be given",
        )  # fmt: skip
    return str(memory_swap - memory)


class UnifiedManager(Manager):
    """A cgroup of v2.

    Args:
        cgroup: of the container.
        layout: of the machine.
        paths: where it was made; None: to be found out.
    """

    def __init__(self, cgroup: Cgroup, layout: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        self._layout = layout
        self._root = layout.unified
        self._path = paths[""] if paths else self._find()

    def _find(self) -> str:
        path = self._cgroup.path or self._cgroup.name
        own = "" if path.startswith("/") else self._layout.own.get("", "/")
        if own and not self._cgroup.rootless:
            # Beside us: a cgroup with processes in it gives no controllers to those below.
            own = os.path.dirname(own)
        return self._root + base.clean(f"{own}/{path}")

    def paths(self) -> dict[str, str]:
        return {"": self._path}

    def _processes_path(self) -> str:
        return self._path

    def below(self, name: str) -> Manager:
        path = self._path + base.clean(name)
        if not os.path.isdir(path):
            raise Failure("exec", f"cgroup {path}", ENOENT)
        return UnifiedManager(self._cgroup, self._layout, {"": path})

    def create(self) -> None:
        try:
            self._make()
        except Failure as failure:
            if self._cgroup.rootless and failure.errno in (EACCES, EPERM, EROFS):
                # None was delegated; the container is in its caller's.
                self._path = ""
                return
            raise
        if self._cgroup.owner_uid is not None:
            self._delegate(self._cgroup.owner_uid)

    def _make(self) -> None:
        """Each cgroup on the way gives what controllers it can to the next."""
        path = self._root
        for name in self._path[len(self._root) :].strip("/").split("/"):
            enable_controllers(path)
            path = f"{path}/{name}"
            base.make(path)

    def _delegate(self, uid: int) -> None:
        """Give it to the container's root, as the kernel's list of files says."""
        os.chown(self._path, uid, -1)
        files = base.read(_DELEGATE).split() or _DELEGATED
        for file in files:
            try:
                os.chown(f"{self._path}/{file}", uid, -1)
            except FileNotFoundError:
                continue

    def fd(self) -> int | None:
        if not self._path:
            return None
        return os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def add(self, pid: int) -> None:
        if self._path:
            base.add(self._path, pid)

    # ---- limits

    def set(self, resources: Resources) -> None:
        for file, value in limits(resources, self._has("io.bfq.weight")):
            self._write(file, value)
        if not resources.skip_devices and resources.devices and self._path:
            from libcontainer.cgroups.devices import attach

            attach(self._path, resources.devices, may_fail=self._cgroup.rootless)

    def _has(self, file: str) -> bool:
        return bool(self._path) and os.path.exists(f"{self._path}/{file}")

    def _write(self, file: str, value: str) -> None:
        if not self._path:
            raise Failure(
                "set", f"{file} to {value}", EACCES,
                "this user has no cgroup: have one delegated (systemd's user session does)",
            )  # fmt: skip
        if not os.path.exists(f"{self._path}/{file}") and "." in file:
            controller = file.partition(".")[0]
            raise Failure(
                "set", f"{file} to {value}", ENOENT,
                f"the {controller} controller is not enabled for {self._path}: see its parent's "
                f"{_SUBTREE}",
            )  # fmt: skip
        base.write(f"{self._path}/{file}", value)

    # ---- its processes

    def freezer_state(self) -> str:
        text = base.read(f"{self._path}/cgroup.freeze").strip() if self._path else ""
        return {"0": RUNNING, "1": FROZEN}.get(text, UNDEFINED)

    def freeze(self) -> None:
        self._write("cgroup.freeze", "1")
        events = f"{self._path}/cgroup.events"
        try:
            base.wait_until(lambda: "frozen 1" in base.read(events), "freeze", self._path)
        except Failure:
            self.thaw()
            raise

    def thaw(self) -> None:
        self._write("cgroup.freeze", "0")

    def kill(self, number: int) -> None:
        if number == 9 and self._has("cgroup.kill"):
            self._write("cgroup.kill", "1")
        else:
            super().kill(number)

    def destroy(self) -> None:
        if self._path and self._path != self._root:
            base.remove(self._path)

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.stats import unified_stats

        return unified_stats(self._path)

    def oom_events(self) -> Iterator[None]:
        from libcontainer.cgroups.oom import unified_events

        return unified_events(self._path)


def enable_controllers(path: str) -> None:
    """Have a cgroup pass on all its controllers to those below it; what it cannot, it does not."""
    available = set(base.read(f"{path}/cgroup.controllers").split())
    missing = available - set(base.read(f"{path}/{_SUBTREE}").split())
    if not missing:
        return
    words = [f"+{controller}" for controller in sorted(missing)]
    try:
        base.write(f"{path}/{_SUBTREE}", " ".join(words))
    except Failure:
        for word in words:
            try:
                base.write(f"{path}/{_SUBTREE}", word)
            except Failure:
                continue


def limits(resources: Resources, has_bfq: bool) -> Iterator[tuple[str, str]]:
    """The files to write, with their values, in order."""
    yield from _memory(resources)
    yield from _cpu(resources)
    if resources.cpuset_cpus:
        yield "cpuset.cpus", resources.cpuset_cpus
    if resources.cpuset_mems:
        yield "cpuset.mems", resources.cpuset_mems
    if resources.pids_limit:
        yield "pids.max", _or_max(resources.pids_limit)
    yield from _io(resources, has_bfq)
    for page in resources.hugetlb_limit:
        yield f"hugetlb.{page.page_size}.max", str(page.limit)
    for limit in resources.rdma:
        from libcontainer.cgroups.fs import rdma_line

        yield "rdma.max", rdma_line(limit)
    for file, value in resources.unified.items():
        for line in value.splitlines() or [value]:
            yield file, line


def _memory(resources: Resources) -> Iterator[tuple[str, str]]:
    memory, both = resources.memory, resources.memory_swap
    if both is None and memory == -1:
        both = -1
    if both:
        yield "memory.swap.max", swap_max(memory, both)
    if memory:
        yield "memory.max", _or_max(memory)
    if resources.memory_reservation:
        yield "memory.low", _or_max(resources.memory_reservation)


def _cpu(resources: Resources) -> Iterator[tuple[str, str]]:
    if resources.cpu_shares:
        yield "cpu.weight", str(cpu_weight(resources.cpu_shares))
    if resources.cpu_idle is not None:
        yield "cpu.idle", str(resources.cpu_idle)
    if resources.cpu_burst is not None:
        yield "cpu.max.burst", str(resources.cpu_burst)
    quota, period = resources.cpu_quota, resources.cpu_period
    if quota or period:
        amount = str(quota) if quota and quota > 0 else "max"
        yield "cpu.max", f"{amount} {period or _DEFAULT_PERIOD}"


def _io(resources: Resources, has_bfq: bool) -> Iterator[tuple[str, str]]:
    if resources.blkio_weight:
        if has_bfq:
            yield "io.bfq.weight", str(resources.blkio_weight)
        else:
            yield "io.weight", f"default {io_weight(resources.blkio_weight)}"
    for device in resources.blkio_weight_device:
        file, weight = "io.weight", io_weight(device.value)
        if has_bfq:
            file, weight = "io.bfq.weight", device.value
        yield file, f"{device.major}:{device.minor} {weight}"
    for field, name in _THROTTLES:
        for device in getattr(resources, field):
            yield "io.max", f"{device.major}:{device.minor} {name}={device.value or 'max'}"
