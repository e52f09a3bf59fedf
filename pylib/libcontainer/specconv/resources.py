# SPDX-License-Identifier: Apache-2.0
"""OCI's "linux.resources" (config-linux.md)."""

from __future__ import annotations

from libcontainer.configs import (
    BlockIODevice,
    DeviceRule,
    HugepageLimit,
    NetworkPriority,
    RdmaLimit,
    Resources,
)
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UINT32 = 2**32 - 1
_THROTTLES = {
    "throttleReadBpsDevice": "blkio_throttle_read_bps_device",
    "throttleWriteBpsDevice": "blkio_throttle_write_bps_device",
    "throttleReadIOPSDevice": "blkio_throttle_read_iops_device",
    "throttleWriteIOPSDevice": "blkio_throttle_write_iops_device",
}


def resources_from_spec(
    resources: Any, *, where: str = "linux.resources", always: tuple[DeviceRule, ...] = ()
) -> Resources:
    """The limits of a cgroup.

    Args:
        resources: parsed JSON.
        where: its path in the file, for errors.
        always: devices that are allowed whatever the file says.

    Raises:
        ConfigError: it is refused; says where.
    """
    spec = Reader(resources, where)
    fields: dict[str, Any] = {
        **_memory(spec),
        **_cpu(spec),
        **_block_io(spec),
        **_network(spec),
        "hugetlb_limit": _hugetlb(spec),
        "rdma": _rdma(spec),
        "unified": _unified(spec),
        "devices": (*(_device_rule(item) for item in spec.objects("devices")), *always),
    }
    pids = spec.object("pids")
    if pids is not None:
        fields["pids_limit"] = pids.optional_number("limit")
    return Resources(**fields)


def _device_rule(item: Reader) -> DeviceRule:
    type = item.text("type") or "a"
    if type not in ("a", "b", "c"):
        raise ConfigError(item.at("type"), f"{type!r} is none of a, b, c")
    access = item.text("access") or ("rwm" if type == "a" else "")
    if not access or set(access) - set("rwm"):
        raise ConfigError(item.at("access"), f"{access!r} is not made of r, w and m")
    major, minor = item.optional_number("major"), item.optional_number("minor")
    return DeviceRule(
        type=type,
        major=-1 if major is None else major,
        minor=-1 if minor is None else minor,
        permissions=access,
        allow=item.flag("allow"),
    )


def _memory(spec: Reader) -> dict[str, Any]:
    memory = spec.object("memory")
    if memory is None:
        return {}
    return {
        "memory": memory.optional_number("limit"),
        "memory_reservation": memory.optional_number("reservation"),
        "memory_swap": memory.optional_number("swap"),
        "memory_swappiness": memory.optional_number("swappiness", least=0, most=100),
        "oom_kill_disable": memory.flag("disableOOMKiller"),
        "memory_check_before_update": memory.flag("checkBeforeUpdate"),
    }


def _cpu(spec: Reader) -> dict[str, Any]:
    cpu = spec.object("cpu")
    if cpu is None:
        return {}
    return {
        "cpu_shares": cpu.optional_number("shares", least=0),
        "cpu_quota": cpu.optional_number("quota"),
        "cpu_burst": cpu.optional_number("burst", least=0),
        "cpu_period": cpu.optional_number("period", least=0),
        "cpu_rt_quota": cpu.optional_number("realtimeRuntime"),
        "cpu_rt_period": cpu.optional_number("realtimePeriod", least=0),
        "cpu_idle": cpu.optional_number("idle", least=0, most=1),
        "cpuset_cpus": cpu.text("cpus"),
        "cpuset_mems": cpu.text("mems"),
    }


def _block_io(spec: Reader) -> dict[str, Any]:
    block = spec.object("blockIO")
    if block is None:
        return {}
    weights = tuple(
        BlockIODevice(
            item.number("major", least=0), item.number("minor", least=0),
            item.number("weight", least=0), item.number("leafWeight", least=0),
        )
        for item in block.objects("weightDevice")
    )  # fmt: skip
    return {
        "blkio_weight": block.optional_number("weight", least=0, most=1000),
        "blkio_leaf_weight": block.optional_number("leafWeight", least=0, most=1000),
        "blkio_weight_device": weights,
        **{field: _throttle(block, name) for name, field in _THROTTLES.items()},
    }


def _throttle(block: Reader, name: str) -> tuple[BlockIODevice, ...]:
    return tuple(
        BlockIODevice(
            item.number("major", least=0), item.number("minor", least=0),
            item.number("rate", least=0),
        )
        for item in block.objects(name)
    )  # fmt: skip


def _network(spec: Reader) -> dict[str, Any]:
    network = spec.object("network")
    if network is None:
        return {}
    return {
        "net_cls_classid": network.optional_number("classID", least=0, most=_UINT32),
        "net_prio_ifpriomap": tuple(
            NetworkPriority(item.needed_text("name"), item.number("priority", least=0))
            for item in network.objects("priorities")
        ),
    }


def _hugetlb(spec: Reader) -> tuple[HugepageLimit, ...]:
    return tuple(
        HugepageLimit(item.needed_text("pageSize"), item.number("limit", least=0))
        for item in spec.objects("hugepageLimits")
    )


def _rdma(spec: Reader) -> tuple[RdmaLimit, ...]:
    table = spec.object("rdma")
    if table is None:
        return ()
    found = []
    for device in table.value:
        item = Reader(table.value[device], table.at(device))
        handles = item.optional_number("hcaHandles", least=0, most=_UINT32)
        objects = item.optional_number("hcaObjects", least=0, most=_UINT32)
        found.append(RdmaLimit(device, handles, objects))
    return tuple(found)


def _unified(spec: Reader) -> dict[str, str]:
    unified = spec.text_map("unified")
    for file in unified:
        if "/" in file or file.startswith("cgroup.") or "." not in file:
            raise ConfigError(
                spec.at("unified"), f"{file!r} is no file of a controller, such as memory.high"
            )
    return unified
