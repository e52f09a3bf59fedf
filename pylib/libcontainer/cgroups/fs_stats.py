# SPDX-License-Identifier: Apache-2.0
"""The usage of a cgroup of v1, in the form that `runc events --stats` prints.

A number that is 0 is left out if runc leaves it out.
"""

from __future__ import annotations

import os

from nsenter._cgroups.files import read, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

UNLIMITED = 2**64 - 1
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")
_CPUSET_FLAGS = (
    "cpu_exclusive", "mem_hardwall", "mem_exclusive", "memory_migrate", "memory_spread_page",
    "memory_spread_slab", "memory_pressure", "sched_load_balance", "sched_relax_domain_level",
)  # fmt: skip
_BLKIO = {
    "ioServiceBytesRecursive": "io_service_bytes_recursive",
    "ioServicedRecursive": "io_serviced_recursive",
    "ioQueueRecursive": "io_queued_recursive",
    "ioServiceTimeRecursive": "io_service_time_recursive",
    "ioWaitTimeRecursive": "io_wait_time_recursive",
    "ioMergedRecursive": "io_merged_recursive",
    "ioTimeRecursive": "time_recursive",
    "sectorsRecursive": "sectors_recursive",
}
# What counts: the CFQ scheduler (before Linux 5.0), BFQ, and what every request goes through.
_BLKIO_PREFIXES = ("blkio", "blkio.bfq", "blkio.throttle")


def some(**values: Any) -> dict[str, Any]:
    """Without those that are 0 or empty."""
    return {name: value for name, value in values.items() if value}


def number(path: str) -> int:
    """A file with one number, "max" being the most; 0 where it is not there."""
    text = read(path).strip()
    if text == "max":
        return UNLIMITED
    return int(text) if text.lstrip("-").isdecimal() else 0


def pids(path: str) -> dict[str, int]:
    """Of the pids controller; no limit is told where there is none."""
    limit = number(f"{path}/pids.max")
    return some(current=number(f"{path}/pids.current"), limit=0 if limit == UNLIMITED else limit)


def ranges(text: str) -> list[int]:
    """Return the numbers of a list: "0-2,5" means 0, 1, 2 and 5."""
    found: list[int] = []
    for part in text.strip().split(",") if text.strip() else ():
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def cpuset(path: str) -> dict[str, Any]:
    """Of cpuset; v2, which has no such flags, tells zeros, as runc."""
    said = {name: number(f"{path}/cpuset.{name}") if path else 0 for name in _CPUSET_FLAGS}
    cpus, mems = (ranges(read(f"{path}/cpuset.{f}")) if path else [] for f in ("cpus", "mems"))
    return {**some(cpus=cpus, mems=mems), **said}


def hugetlb(path: str, usage: str, peak: str, failures: str) -> dict[str, Any]:
    """By page size: files "hugetlb.SIZE.…" with these endings."""
    try:
        names = os.listdir(path) if path else []
    except FileNotFoundError:
        names = []
    found = {}
    for name in sorted(names):
        if name.startswith("hugetlb.") and name.endswith(f"B.{usage}"):
            size = name.split(".")[1]
            base = f"{path}/hugetlb.{size}"
            counts = table(f"{base}.{failures}")
            failed = counts.get("max", 0) or number(f"{base}.{failures}")
            used, most = number(f"{base}.{usage}"), number(f"{base}.{peak}")
            found[size] = {**some(usage=used, max=most), "failcnt": failed}
    return found


def stats(paths: Mapping[str, str]) -> dict[str, Any]:
    """Of the controllers that there are, by their directories."""
    memory = paths.get("memory", "")
    return {
        "cpu": _cpu(paths.get("cpu", ""), paths.get("cpuacct", "")),
        "cpuset": cpuset(paths.get("cpuset", "")),
        "memory": _memory(memory) if memory else {},
        "pids": pids(paths.get("pids", "")),
        "blkio": _blkio(paths.get("blkio", "")),
        "hugetlb": hugetlb(
            paths.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes", "failcnt"
        ),
        "intel_rdt": {},
    }


def _cpu(cpu: str, cpuacct: str) -> dict[str, Any]:
    ticks = table(f"{cpuacct}/cpuacct.stat")
    rows = [line.split() for line in read(f"{cpuacct}/cpuacct.usage_all").splitlines()[1:]]
    return {
        "usage": {
            **some(
                total=number(f"{cpuacct}/cpuacct.usage"),
                percpu=[int(n) for n in read(f"{cpuacct}/cpuacct.usage_percpu").split()],
                percpu_kernel=[int(row[2]) for row in rows],
                percpu_user=[int(row[1]) for row in rows],
            ),
            "kernel": ticks.get("system", 0) * _TICK_NS,
            "user": ticks.get("user", 0) * _TICK_NS,
        },
        "throttling": throttling(table(f"{cpu}/cpu.stat"), "throttled_time", 1),
    }


def throttling(counts: Mapping[str, int], time: str, nanoseconds: int) -> dict[str, int]:
    """Of cpu.stat; `time` is counted in so many nanoseconds."""
    return some(
        periods=counts.get("nr_periods", 0),
        throttledPeriods=counts.get("nr_throttled", 0),
        throttledTime=counts.get(time, 0) * nanoseconds,
    )


def _memory(path: str) -> dict[str, Any]:
    raw = table(f"{path}/memory.stat")
    return {
        **some(cache=raw.get("cache", 0)),
        "usage": _counters(path, "memory"),
        "swap": _counters(path, "memory.memsw"),
        "kernel": _counters(path, "memory.kmem"),
        "kernelTCP": _counters(path, "memory.kmem.tcp"),
        "raw": raw,
    }


def _counters(path: str, prefix: str) -> dict[str, int]:
    return {
        "limit": number(f"{path}/{prefix}.limit_in_bytes"),
        **some(
            usage=number(f"{path}/{prefix}.usage_in_bytes"),
            max=number(f"{path}/{prefix}.max_usage_in_bytes"),
        ),
        "failcnt": number(f"{path}/{prefix}.failcnt"),
    }


def _blkio(path: str) -> dict[str, Any]:
    if not path:
        return {}
    for prefix in _BLKIO_PREFIXES:
        found = some(**{key: _operations(f"{path}/{prefix}.{f}") for key, f in _BLKIO.items()})
        if found:
            return found
    return {}


def _operations(path: str) -> list[dict[str, Any]]:
    """Return the entries of a file whose lines are like "8:0 Read 4096".

    The last line, "Total 4096", is the sum.
    """
    found = []
    for line in read(path).splitlines():
        device, *rest = line.split()
        if ":" in device and rest:
            major, minor = map(int, device.split(":"))
            operation = rest[0] if len(rest) == 2 else ""
            found.append(some(major=major, minor=minor, op=operation, value=int(rest[-1])))
    return found
