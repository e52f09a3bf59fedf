# SPDX-License-Identifier: Apache-2.0
"""Read "linux.resources" (config-linux.md)."""

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
from libcontainer.specconv.reader import INT64, UINT32, UINT64, Reader, check_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_UINT16 = 2**16 - 1
_PAGE_UNITS = ("KB", "MB", "GB")
_THROTTLES = {
    "throttleReadBpsDevice": "blkio_throttle_read_bps_device",
    "throttleWriteBpsDevice": "blkio_throttle_write_bps_device",
    "throttleReadIOPSDevice": "blkio_throttle_read_iops_device",
    "throttleWriteIOPSDevice": "blkio_throttle_write_iops_device",
}


def resources_from_spec(
    resources: Any, *, where: str = "linux.resources", always: tuple[DeviceRule, ...] = ()
) -> Resources:
    """Return the limits of a cgroup. The number 0 means no limit where runc takes it so.

    Args:
        resources: the parsed object.
        where: its path in the document, for errors.
        always: rules for devices that follow those of the document.

    Raises:
        ConfigError: a value is not valid or not supported; the error says where it is.
    """
    spec = Reader(resources, where)
    fields: dict[str, Any] = {"devices": (*map(_device_rule, spec.objects("devices")), *always)}
    for name, read in _PARTS.items():
        part = spec.object(name)
        if part is not None:
            fields |= read(part)
    fields["hugetlb_limit"] = tuple(map(_hugepages, spec.objects("hugepageLimits")))
    fields["rdma"] = tuple(_rdma(device, item) for device, item in spec.members("rdma"))
    fields["unified"] = _unified(spec)
    return Resources(**fields)


def _device_rule(item: Reader) -> DeviceRule:
    type = check_word(item.at("type"), item.text("type") or "a", ("a", "b", "c"))
    access = item.text("access") or ("rwm" if type == "a" else "")
    # An "a" besides says nothing, as with runc, whose own tests have one.
    permissions = access.replace("a", "")
    if not permissions or permissions.strip("rwm"):
        raise ConfigError(item.at("access"), f"{access!r} is not made of r, w and m")
    return DeviceRule(
        type=type,
        major=item.number("major", -1, least=-1, most=UINT32),
        minor=item.number("minor", -1, least=-1, most=UINT32),
        permissions=permissions,
        allow=item.flag("allow"),
    )


def _memory(memory: Reader) -> dict[str, Any]:
    return {
        "memory": memory.limit("limit", least=-1),
        "memory_reservation": memory.limit("reservation", least=-1),
        "memory_swap": memory.limit("swap", least=-1),
        "memory_swappiness": memory.optional_number("swappiness", most=100),
        "oom_kill_disable": memory.flag("disableOOMKiller"),
        "memory_check_before_update": memory.flag("checkBeforeUpdate"),
    }


def _cpu(cpu: Reader) -> dict[str, Any]:
    return {
        "cpu_shares": cpu.limit("shares", most=UINT64),
        "cpu_quota": cpu.limit("quota", least=-INT64),
        "cpu_burst": cpu.optional_number("burst", most=UINT64),
        "cpu_period": cpu.limit("period", most=UINT64),
        "cpu_rt_quota": cpu.limit("realtimeRuntime", least=-INT64),
        "cpu_rt_period": cpu.limit("realtimePeriod", most=UINT64),
        "cpu_idle": cpu.optional_number("idle", most=1),
        "cpuset_cpus": cpu.text("cpus"),
        "cpuset_mems": cpu.text("mems"),
    }


def _pids(pids: Reader) -> dict[str, Any]:
    # 0 is a limit: that of a container without a second process.
    return {"pids_limit": pids.optional_number("limit", least=-INT64)}


def _block_io(block: Reader) -> dict[str, Any]:
    return {
        "blkio_weight": block.limit("weight", most=_UINT16),
        "blkio_leaf_weight": block.limit("leafWeight", most=_UINT16),
        "blkio_weight_device": tuple(map(_weight, block.objects("weightDevice"))),
        **{field: tuple(map(_throttle, block.objects(name))) for name, field in _THROTTLES.items()},
    }


def _weight(item: Reader) -> BlockIODevice:
    major, minor = item.number("major", most=UINT32), item.number("minor", most=UINT32)
    weights = item.number("weight", most=_UINT16), item.number("leafWeight", most=_UINT16)
    return BlockIODevice(major, minor, *weights)


def _throttle(item: Reader) -> BlockIODevice:
    major, minor = item.number("major", most=UINT32), item.number("minor", most=UINT32)
    return BlockIODevice(major, minor, item.number("rate", most=UINT64))


def _network(network: Reader) -> dict[str, Any]:
    return {
        "net_cls_classid": network.limit("classID", most=UINT32),
        "net_prio_ifpriomap": tuple(
            NetworkPriority(item.needed_text("name"), item.number("priority", most=UINT32))
            for item in network.objects("priorities")
        ),
    }


_PARTS = {
    "memory": _memory,
    "cpu": _cpu,
    "pids": _pids,
    "blockIO": _block_io,
    "network": _network,
}


def _hugepages(item: Reader) -> HugepageLimit:
    size = item.needed_text("pageSize")
    number = size.removesuffix("B").rstrip("KMG")
    if not (number.isascii() and number.isdigit()) or size[len(number) :] not in _PAGE_UNITS:
        raise ConfigError(item.at("pageSize"), f"{size!r} is not a size such as 2MB or 1GB")
    return HugepageLimit(size, item.number("limit", most=UINT64))


def _rdma(device: str, item: Reader) -> RdmaLimit:
    handles = item.optional_number("hcaHandles", most=UINT32)
    return RdmaLimit(device, handles, item.optional_number("hcaObjects", most=UINT32))


def _unified(spec: Reader) -> dict[str, str]:
    unified = spec.text_map("unified")
    for file in unified:
        if "/" in file or file.find(".") < 1:
            raise ConfigError(
                spec.at("unified"), f"{file!r} is not a file of a controller such as memory.high"
            )
    return unified
