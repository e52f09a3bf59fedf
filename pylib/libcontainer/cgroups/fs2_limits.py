# SPDX-License-Identifier: Apache-2.0
"""Which file of cgroup v2 gets which value (admin-guide/cgroup-v2).

OCI's values are those of v1; they are converted as runc and crun do.
"""

from __future__ import annotations

from libcontainer.cgroups.fs_limits import (
    check_usage,
    device_line,
    pids_max,
    rdma_line,
    shares_of,
)
from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from libcontainer.configs import Resources

    Writes = list[tuple[str, str]]
    Read = Callable[[str], str]

DEFAULT_PERIOD = 100_000
_LEAST_SHARES, _MOST_SHARES, _MOST_WEIGHT = 2, 262_144, 10_000
_THROTTLES = (
    ("blkio_throttle_read_bps_device", "rbps"),
    ("blkio_throttle_write_bps_device", "wbps"),
    ("blkio_throttle_read_iops_device", "riops"),
    ("blkio_throttle_write_iops_device", "wiops"),
)


def cpu_weight(shares: int) -> int:
    """cpu.weight (1 … 10000) for v1's shares (2 … 262144).

    The default of the one is the default of the other (1024 and 100), as in runc 1.3.2 and crun
    1.23. Before, they took a straight line, by which a container with the default of v1 had a
    third of the weight that processes without a container have.
    """
    from math import ceil, log2  # for shares alone

    if not _LEAST_SHARES < shares < _MOST_SHARES:
        return 1 if shares <= _LEAST_SHARES else _MOST_WEIGHT
    doublings = log2(shares)
    return ceil(10 ** ((doublings**2 + 125 * doublings) / 612 - 7 / 34))


def io_weight(weight: int) -> int:
    """io.weight (1 … 10000) for v1's weight (10 … 1000)."""
    return 1 + (min(max(weight, 10), 1000) - 10) * 9999 // 990


def swap_max(memory: int | None, both: int | None) -> str:
    """Return memory.swap.max, the limit of swap alone, for v1's limit of memory and swap together.

    If memory has no limit, it cannot be subtracted; the value is then the limit of swap, as in
    runc.

    Returns:
        "" if no limit is set.

    Raises:
        ConfigError: memory has no limit, or a larger one.
    """
    if both == -1 or (memory == -1 and not both):
        return "max"
    if not both:
        return ""
    if memory == -1:
        return str(both)
    if not memory or both < memory:
        raise ConfigError(
            "linux.resources.memory.swap",
            f"{both} is the limit of memory and swap together: it requires a memory.limit that is "
            "not larger",
        )
    return str(both - memory)


def or_max(value: int) -> str:
    """A limit in v2's words; any below 0 is none."""
    return str(value) if value >= 0 else "max"


def limits(resources: Resources, read: Read) -> Iterator[Writes]:
    """Return the files to write, each with its value, in order.

    Lines that the kernel checks against each other are in one value. Limits that are not set are
    left out.

    Args:
        resources: the limits.
        read: returns the text of a file; "" if it does not exist.

    Raises:
        ConfigError: v2 does not have a value.
        Failure: the limit of memory is below its usage, and that was to be checked.
    """
    yield from _memory(resources, read)
    if cpu := _cpu(resources):
        yield cpu
    cpuset = (("cpuset.cpus", resources.cpuset_cpus), ("cpuset.mems", resources.cpuset_mems))
    if writes := [(file, value) for file, value in cpuset if value]:
        yield writes
    if resources.pids_limit is not None:
        yield [("pids.max", pids_max(resources.pids_limit))]
    for write in _io(resources, read):
        yield [write]
    yield from _rare(resources, read)
    yield from _unified(resources)


def check_memory(resources: Resources, read: Read) -> None:
    """Raise Failure if memory is below its usage, and that is to be checked."""
    if resources.memory_check_before_update:
        for bound in (resources.memory_swap, resources.memory):
            if bound and bound > 0:
                check_usage(bound, read("memory.current"))


def _memory(resources: Resources, read: Read) -> Iterator[Writes]:
    limit = resources.memory
    check_memory(resources, read)
    writes = []
    if swap := swap_max(limit, resources.memory_swap):
        writes.append(("memory.swap.max", swap))
    if limit:
        writes.append(("memory.max", or_max(limit)))
    if resources.memory_reservation:
        writes.append(("memory.low", or_max(resources.memory_reservation)))
    for write in writes:
        yield [write]


def _cpu(resources: Resources) -> Writes:
    writes = []
    if shares := shares_of(resources):
        writes.append(("cpu.weight", str(cpu_weight(shares))))
    if resources.cpu_idle is not None:
        writes.append(("cpu.idle", str(resources.cpu_idle)))
    quota, period = resources.cpu_quota, resources.cpu_period
    if resources.cpu_burst is not None:
        writes.append(("cpu.max.burst", str(resources.cpu_burst)))
    if quota or period:
        amount = str(quota) if quota and quota > 0 else "max"
        writes.append(("cpu.max", f"{amount} {period or DEFAULT_PERIOD}"))
    return writes


def _io(resources: Resources, read: Read) -> Iterator[tuple[str, str]]:
    bfq = ""
    if resources.blkio_weight or resources.blkio_weight_device:
        bfq = read("io.bfq.weight")
    if resources.blkio_weight and bfq:
        yield "io.bfq.weight", str(resources.blkio_weight)
    elif resources.blkio_weight:
        yield "io.weight", f"default {io_weight(resources.blkio_weight)}"
    for device in resources.blkio_weight_device:
        if not device.value:  # its leafWeight is said alone, which v2 does not have
            continue
        if bfq:
            yield "io.bfq.weight", device_line(device, device.value)
        else:
            yield "io.weight", device_line(device, io_weight(device.value))
    for field, name in _THROTTLES:
        for device in getattr(resources, field):
            yield "io.max", device_line(device, f"{name}={device.value or 'max'}")


def _rare(resources: Resources, read: Read) -> Iterator[Writes]:
    for page in resources.hugetlb_limit:
        yield [(f"hugetlb.{page.page_size}.max", str(page.limit))]
        if read(f"hugetlb.{page.page_size}.rsvd.max"):
            yield [(f"hugetlb.{page.page_size}.rsvd.max", str(page.limit))]
    for limit in resources.rdma:
        yield [("rdma.max", rdma_line(limit))]


def _unified(resources: Resources) -> Iterator[Writes]:
    for file, value in resources.unified.items():
        if "/" in file or file.startswith("."):
            raise ConfigError(f"linux.resources.unified[{file!r}]", "is not a file's name")
        # The kernel takes one line at a time.
        for line in value.splitlines() or [""]:
            yield [(file, line)]
