# SPDX-License-Identifier: Apache-2.0
"""Cgroup v1 and the hybrid layout: one hierarchy for each controller, a directory in each.

The files are those of the kernel's admin-guide/cgroup-v1; what is written when, runc's.
"""

from __future__ import annotations

import os
from errno import EBUSY, EINVAL, EROFS

from libcontainer.cgroups import base
from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from libcontainer.cgroups.layout import Layout
    from libcontainer.configs import BlockIODevice, Cgroup, DeviceRule, Resources

# (field of Resources, controller, file): written as they are.
_NUMBERS = (
    ("memory_reservation", "memory", "memory.soft_limit_in_bytes"),
    ("memory_swappiness", "memory", "memory.swappiness"),
    ("cpu_shares", "cpu", "cpu.shares"),
    ("cpu_period", "cpu", "cpu.cfs_period_us"),
    ("cpu_quota", "cpu", "cpu.cfs_quota_us"),
    ("cpu_burst", "cpu", "cpu.cfs_burst_us"),
    ("cpu_rt_period", "cpu", "cpu.rt_period_us"),
    ("cpu_rt_quota", "cpu", "cpu.rt_runtime_us"),
    ("cpu_idle", "cpu", "cpu.idle"),
    ("blkio_leaf_weight", "blkio", "blkio.leaf_weight"),
    ("net_cls_classid", "net_cls", "net_cls.classid"),
)
_THROTTLES = (
    ("blkio_throttle_read_bps_device", "blkio.throttle.read_bps_device"),
    ("blkio_throttle_write_bps_device", "blkio.throttle.write_bps_device"),
    ("blkio_throttle_read_iops_device", "blkio.throttle.read_iops_device"),
    ("blkio_throttle_write_iops_device", "blkio.throttle.write_iops_device"),
)
_LIMIT = "memory.limit_in_bytes"
_SWAP_LIMIT = "memory.memsw.limit_in_bytes"
_USAGE = "memory.usage_in_bytes"


class LegacyManager(Manager):
    """A cgroup in every hierarchy of v1.

    Args:
        cgroup: of the container.
        layout: of the machine.
        paths: where it was made; None: to be found out.
    """

    def __init__(self, cgroup: Cgroup, layout: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        self._layout = layout
        self._paths = dict(paths) if paths else self._find()

    def _find(self) -> dict[str, str]:
        path = self._cgroup.path or self._cgroup.name
        found = {}
        for hierarchy in self._layout.hierarchies:
            for controller in hierarchy.controllers:
                own = "" if path.startswith("/") else self._layout.own.get(controller, "/")
                found[controller] = hierarchy.mount_point + base.clean(f"{own}/{path}")
        return found

    def paths(self) -> dict[str, str]:
        return dict(self._paths)

    def _directories(self) -> list[str]:
        return list(dict.fromkeys(self._paths.values()))

    def _processes_path(self) -> str:
        for controller in ("devices", "pids", "memory", *self._paths):
            if controller in self._paths:
                return self._paths[controller]
        return ""

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        return [
            (h.name, h.controllers, self._paths[h.controllers[0]])
            for h in self._layout.hierarchies
            if h.controllers[0] in self._paths
        ]

    def below(self, name: str) -> Manager:
        controller, colon, path = name.rpartition(":")
        paths = {
            c: p + base.clean(path) if not colon or c in controller.split(",") else p
            for c, p in self._paths.items()
        }
        for directory in paths.values():
            if not os.path.isdir(directory):
                raise Failure("exec", f"cgroup {directory}", 2)
        return LegacyManager(self._cgroup, self._layout, paths)

    def create(self) -> None:
        for directory in self._directories():
            try:
                base.make(directory)
            except Failure as failure:
                if not (self._cgroup.rootless and failure.errno in (EROFS, 13, 1)):
                    raise
                # Not ours to make. What is asked of it is refused when it is set.
                self._paths = {c: p for c, p in self._paths.items() if p != directory}
        if "cpuset" in self._paths:
            _inherit_cpuset(self._paths["cpuset"], self._mount_point("cpuset"))

    def _mount_point(self, controller: str) -> str:
        return next(h.mount_point for h in self._layout.hierarchies if controller in h.controllers)

    def add(self, pid: int) -> None:
        for directory in self._directories():
            base.add(directory, pid)

    # ---- limits

    def set(self, resources: Resources) -> None:
        self._set_memory(resources)
        for field, controller, file in _NUMBERS:
            value = getattr(resources, field)
            if value:
                self._write(controller, file, str(value))
        if resources.cpuset_cpus:
            self._write("cpuset", "cpuset.cpus", resources.cpuset_cpus)
        if resources.cpuset_mems:
            self._write("cpuset", "cpuset.mems", resources.cpuset_mems)
        if resources.pids_limit:
            self._write("pids", "pids.max", _or_max(resources.pids_limit))
        if resources.oom_kill_disable:
            self._write("memory", "memory.oom_control", "1")
        self._set_blkio(resources)
        self._set_rare(resources)
        if not resources.skip_devices:
            self._set_devices(resources.devices)

    def _write(self, controller: str, file: str, value: str) -> None:
        directory = self._paths.get(controller)
        if directory is None:
            raise Failure(
                "set", f"{file} to {value}", 2,
                f"no {controller} cgroup is mounted, or this user may make none",
            )  # fmt: skip
        base.write(f"{directory}/{file}", value)

    def _set_memory(self, resources: Resources) -> None:
        """Memory may not be more than memory and swap, at no moment."""
        limit, swap = resources.memory, resources.memory_swap
        if limit == -1 and swap is None:
            swap = -1 if self._has("memory", _SWAP_LIMIT) else None
        if limit and resources.memory_check_before_update:
            self._check_usage(limit)
        writes = [(_LIMIT, limit), (_SWAP_LIMIT, swap)]
        if limit and swap:
            now = base.read(f"{self._paths.get('memory', '')}/{_SWAP_LIMIT}").strip()
            if swap == -1 or (now.isdecimal() and int(now) < limit):
                writes.reverse()
        for file, value in writes:
            if value:
                self._write("memory", file, str(value))

    def _check_usage(self, limit: int) -> None:
        usage = base.read(f"{self._paths.get('memory', '')}/{_USAGE}").strip()
        if usage.isdecimal() and 0 < limit < int(usage):
            raise Failure(
                "set", f"{_LIMIT} to {limit}", EBUSY,
                f"below the usage of {usage} bytes, and linux.resources.memory.checkBeforeUpdate",
            )  # fmt: skip

    def _has(self, controller: str, file: str) -> bool:
        return os.path.exists(f"{self._paths.get(controller, '')}/{file}")

    def _set_blkio(self, resources: Resources) -> None:
        weight = "blkio.weight" if self._has("blkio", "blkio.weight") else "blkio.bfq.weight"
        if resources.blkio_weight:
            self._write("blkio", weight, str(resources.blkio_weight))
        for device in resources.blkio_weight_device:
            self._write("blkio", f"{weight}_device", _device_line(device))
            if device.leaf_weight:
                line = f"{device.major}:{device.minor} {device.leaf_weight}"
                self._write("blkio", "blkio.leaf_weight_device", line)
        for field, file in _THROTTLES:
            for device in getattr(resources, field):
                self._write("blkio", file, _device_line(device))

    def _set_rare(self, resources: Resources) -> None:
        for page in resources.hugetlb_limit:
            self._write("hugetlb", f"hugetlb.{page.page_size}.limit_in_bytes", str(page.limit))
        for entry in resources.net_prio_ifpriomap:
            line = f"{entry.interface} {entry.priority}"
            self._write("net_prio", "net_prio.ifpriomap", line)
        for limit in resources.rdma:
            self._write("rdma", "rdma.max", rdma_line(limit))

    def _set_devices(self, rules: tuple[DeviceRule, ...]) -> None:
        for rule in rules:
            self._write(
                "devices", "devices.allow" if rule.allow else "devices.deny", _rule_line(rule)
            )

    # ---- its processes

    def freezer_state(self) -> str:
        text = base.read(f"{self._paths.get('freezer', '')}/freezer.state").strip()
        return {"THAWED": RUNNING, "FROZEN": FROZEN, "FREEZING": FROZEN}.get(text, UNDEFINED)

    def freeze(self) -> None:
        path = f"{self._paths.get('freezer', '')}/freezer.state"

        def frozen() -> bool:
            # Written again: a process made meanwhile is frozen by that.
            self._write("freezer", "freezer.state", "FROZEN")
            return base.read(path).strip() == "FROZEN"

        try:
            base.wait_until(frozen, "freeze", path)
        except Failure:
            self.thaw()
            raise

    def thaw(self) -> None:
        self._write("freezer", "freezer.state", "THAWED")

    def kill(self, number: int) -> None:
        super().kill(number)
        if number == 9 and self.freezer_state() == FROZEN:
            self.thaw()

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.stats import legacy_stats

        return legacy_stats(self._paths)

    def oom_events(self) -> Iterator[None]:
        from libcontainer.cgroups.oom import legacy_events

        return legacy_events(self._paths["memory"])


def _or_max(limit: int) -> str:
    return str(limit) if limit > 0 else "max"


def _device_line(device: BlockIODevice) -> str:
    return f"{device.major}:{device.minor} {device.value}"


def _rule_line(rule: DeviceRule) -> str:
    if rule.type == "a" and rule.major < 0 and rule.minor < 0:
        return "a"
    major, minor = ("*" if n < 0 else str(n) for n in (rule.major, rule.minor))
    return f"{rule.type} {major}:{minor} {rule.permissions}"


def rdma_line(limit: Any) -> str:
    """ "mlx5_0 hca_handle=3 hca_object=max", a line of rdma.max."""
    words = [limit.device]
    if limit.hca_handles is not None:
        words.append(f"hca_handle={limit.hca_handles}")
    if limit.hca_objects is not None:
        words.append(f"hca_object={limit.hca_objects}")
    return " ".join(words)


def _inherit_cpuset(path: str, root: str) -> None:
    """A cgroup without CPUs and memory nodes takes no process: those of its parent are its own."""
    files = ("cpuset.cpus", "cpuset.mems")
    if all(base.read(f"{path}/{file}").strip() for file in files) or len(path) <= len(root):
        return
    parent = os.path.dirname(path)
    _inherit_cpuset(parent, root)
    for file in files:
        if not base.read(f"{path}/{file}").strip():
            try:
                base.write(f"{path}/{file}", base.read(f"{parent}/{file}").strip())
            except Failure as failure:
                if failure.errno != EINVAL:
                    raise
