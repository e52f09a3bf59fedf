# SPDX-License-Identifier: Apache-2.0
"""Which file of cgroup v1 gets which value (admin-guide/cgroup-v1; what 0 and -1 mean: runc's)."""

from __future__ import annotations

from errno import EBUSY

from libcontainer.errors import ConfigError
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer.configs import BlockIODevice, RdmaLimit, Resources

    Writes = list[tuple[str, str]]
    Read = Callable[[str, str], str]

_LIMIT = "memory.limit_in_bytes"
_SWAP_LIMIT = "memory.memsw.limit_in_bytes"
_USAGE = "memory.usage_in_bytes"
_MOST_SWAPPINESS = 100
_LEAST_SHARES, _MOST_SHARES = 2, 262_144

# (controller, (field of Resources, file)…): numbers, of which 0 says nothing. The kernel checks
# those of one line against each other.
_NUMBERS = (
    ("cpu", ("cpu_rt_period", "cpu.rt_period_us"), ("cpu_rt_quota", "cpu.rt_runtime_us")),
    ("net_cls", ("net_cls_classid", "net_cls.classid")),
    ("memory", ("memory_reservation", "memory.soft_limit_in_bytes")),
    ("cpuset", ("cpuset_cpus", "cpuset.cpus"), ("cpuset_mems", "cpuset.mems")),
)
_THROTTLES = (
    ("blkio_throttle_read_bps_device", "blkio.throttle.read_bps_device"),
    ("blkio_throttle_write_bps_device", "blkio.throttle.write_bps_device"),
    ("blkio_throttle_read_iops_device", "blkio.throttle.read_iops_device"),
    ("blkio_throttle_write_iops_device", "blkio.throttle.write_iops_device"),
)


def limits(resources: Resources, read: Read) -> Iterator[tuple[str, Writes]]:
    """Controllers with what is to be written, in order; what nothing is said of is left out.

    Args:
        read: the text of a controller's file; "" where it is not there.

    Raises:
        ConfigError: a value that v1 does not have.
        Failure: memory is below its usage, and that was to be checked.
    """
    if resources.memory or resources.memory_swap:
        yield "memory", _memory(resources, read)
    if resources.memory_swappiness not in (None, -1):
        yield "memory", [("memory.swappiness", _swappiness(resources.memory_swappiness or 0))]
    if resources.oom_kill_disable:
        yield "memory", [("memory.oom_control", "1")]
    if cpu := _cpu(resources):
        yield "cpu", cpu
    for controller, *pairs in _NUMBERS:
        if writes := [(f, str(v)) for name, f in pairs if (v := getattr(resources, name))]:
            yield controller, writes
    if resources.pids_limit is not None:
        yield "pids", [("pids.max", pids_max(resources.pids_limit))]
    for write in _blkio(resources, read):
        yield "blkio", [write]
    yield from _rare(resources, read)


def _memory(resources: Resources, read: Read) -> Writes:
    limit, swap = resources.memory, resources.memory_swap
    if limit == -1 and not swap and read("memory", _SWAP_LIMIT):
        swap = -1
    check_memory(resources, read)
    return [(file, str(n)) for file, n in ((_LIMIT, limit), (_SWAP_LIMIT, swap)) if n]


def check_memory(resources: Resources, read: Read) -> None:
    """Raise Failure if memory is below its usage, and that is to be checked."""
    limit = resources.memory
    if limit and limit > 0 and resources.memory_check_before_update:
        check_usage(limit, read("memory", _USAGE))


def check_usage(limit: int, usage: str) -> None:
    """linux.resources.memory.checkBeforeUpdate.

    Raises:
        Failure: the usage, as the kernel tells it, is not below the limit.
    """
    usage = usage.strip()
    if usage.isdecimal() and limit <= int(usage):
        why = f"{usage} bytes are in use, and memory.checkBeforeUpdate is set"
        raise Failure("set", f"a memory limit of {limit}", EBUSY, why)


def _swappiness(value: int) -> str:
    if not 0 <= value <= _MOST_SWAPPINESS:
        raise ConfigError("linux.resources.memory.swappiness", f"{value} is not from 0 to 100")
    return str(value)


def _cpu(resources: Resources) -> Writes:
    shares = resources.cpu_shares or _LEAST_SHARES
    if not _LEAST_SHARES <= shares <= _MOST_SHARES:
        least = shares < _LEAST_SHARES
        bound = f"minimum allowed cpu-shares is {_LEAST_SHARES}"
        if not least:
            bound = f"maximum allowed cpu-shares is {_MOST_SHARES}"
        raise ConfigError("linux.resources.cpu.shares", f"{shares}: the {bound}")
    pairs = (
        ("cpu.shares", shares_of(resources)),
        ("cpu.cfs_period_us", resources.cpu_period or None),
        ("cpu.cfs_quota_us", resources.cpu_quota or None),
        ("cpu.cfs_burst_us", resources.cpu_burst),
        ("cpu.idle", resources.cpu_idle),
    )
    return [(file, str(value)) for file, value in pairs if value is not None]


def shares_of(resources: Resources) -> int | None:
    """Return cpu.shares, or cpu.weight converted to v1's numbers; None if it is not to be set.

    A cgroup with cpu.idle 1 has the least weight, and the kernel refuses any other.
    """
    return None if resources.cpu_idle == 1 else resources.cpu_shares or None


def pids_max(limit: int) -> str:
    """pids.max: 0 allows no more than 1 does, the init, which systemd takes and 0 it does not."""
    return str(max(limit, 1)) if limit >= 0 else "max"


def _blkio(resources: Resources, read: Read) -> Iterator[tuple[str, str]]:
    weight = "blkio.weight"
    if (resources.blkio_weight or resources.blkio_weight_device) and not read("blkio", weight):
        weight = "blkio.bfq.weight"
    if resources.blkio_weight:
        yield weight, str(resources.blkio_weight)
    if resources.blkio_leaf_weight:
        yield "blkio.leaf_weight", str(resources.blkio_leaf_weight)
    for device in resources.blkio_weight_device:
        if device.value:
            yield f"{weight}_device", device_line(device, device.value)
        if device.leaf_weight:
            yield "blkio.leaf_weight_device", device_line(device, device.leaf_weight)
    for field, file in _THROTTLES:
        for device in getattr(resources, field):
            yield file, device_line(device, device.value)


def device_line(device: BlockIODevice, value: object) -> str:
    """Return a line with a device and a value, such as "8:0 1048576"."""
    return f"{device.major}:{device.minor} {value}"


def _rare(resources: Resources, read: Read) -> Iterator[tuple[str, Writes]]:
    for page in resources.hugetlb_limit:
        for file in (f"hugetlb.{page.page_size}", f"hugetlb.{page.page_size}.rsvd"):
            file += ".limit_in_bytes"
            if "rsvd" not in file or read("hugetlb", file):
                yield "hugetlb", [(file, str(page.limit))]
    for entry in resources.net_prio_ifpriomap:
        yield "net_prio", [("net_prio.ifpriomap", f"{entry.interface} {entry.priority}")]
    for limit in resources.rdma:
        yield "rdma", [("rdma.max", rdma_line(limit))]


def rdma_line(limit: RdmaLimit) -> str:
    """Return a line of rdma.max, such as "mlx5_0 hca_handle=3 hca_object=max"."""
    pairs = (("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects))
    return " ".join([limit.device, *(f"{key}={n}" for key, n in pairs if n is not None)])
