# SPDX-License-Identifier: Apache-2.0
"""What a cgroup of v2 uses, in the shape that `runc events --stats` prints."""

from __future__ import annotations

from libcontainer.cgroups.fs_stats import (
    UNLIMITED,
    cpuset,
    hugetlb,
    number,
    pids,
    some,
    throttling,
)
from nsenter._cgroups.files import read, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Key of io.stat: whether it counts bytes, or requests, and what kind of them.
_IO_KEYS = {
    "rbytes": (True, "Read"),
    "wbytes": (True, "Write"),
    "dbytes": (True, "Discard"),
    "rios": (False, "Read"),
    "wios": (False, "Write"),
    "dios": (False, "Discard"),
}


def stats(path: str) -> dict[str, Any]:
    """Of the controllers that there are; `path` is the cgroup's directory, "" without one."""
    if not path:
        return {}
    return {
        "cpu": _cpu(path),
        "cpuset": cpuset(""),
        "memory": _memory(path),
        "pids": pids(path),
        "blkio": _io(path),
        "hugetlb": hugetlb(path, "current", "peak", "events"),
        "intel_rdt": {},
    }


def _cpu(path: str) -> dict[str, Any]:
    counts = table(f"{path}/cpu.stat")
    return {
        "usage": {
            **some(total=counts.get("usage_usec", 0) * 1000),
            "kernel": counts.get("system_usec", 0) * 1000,
            "user": counts.get("user_usec", 0) * 1000,
        },
        "throttling": throttling(counts, "throttled_usec", 1000),
        **_pressure(f"{path}/cpu.pressure"),
    }


def _memory(path: str) -> dict[str, Any]:
    raw = table(f"{path}/memory.stat")
    events = table(f"{path}/memory.events")
    usage = _counters(path, "memory", events.get("max", 0))
    swap = _counters(path, "memory.swap", 0)
    # v1's "swap" is memory and swap together, and so is that of its readers.
    swap["usage"] = swap.get("usage", 0) + usage.get("usage", 0)
    if UNLIMITED in (swap["limit"], usage["limit"]):
        swap["limit"] = UNLIMITED
    else:
        swap["limit"] += usage["limit"]
    return {
        **some(cache=raw.get("file", 0)),
        "usage": usage,
        "swap": swap,
        "kernel": {"limit": 0, **some(usage=raw.get("kernel", 0)), "failcnt": 0},
        "kernelTCP": {"limit": 0, **some(usage=raw.get("sock", 0)), "failcnt": 0},
        "raw": raw,
        **_pressure(f"{path}/memory.pressure"),
    }


def _counters(path: str, prefix: str, failures: int) -> dict[str, int]:
    return {
        "limit": number(f"{path}/{prefix}.max"),
        **some(usage=number(f"{path}/{prefix}.current"), max=number(f"{path}/{prefix}.peak")),
        "failcnt": failures,
    }


def _io(path: str) -> dict[str, Any]:
    moved: list[dict[str, Any]] = []
    requests: list[dict[str, Any]] = []
    for line in read(f"{path}/io.stat").splitlines():
        # Some kernels leave the end of the line out behind a device that has no numbers.
        words = line.split()
        devices = [word for word in words if ":" in word and "=" not in word]
        if not devices:
            continue
        major, minor = map(int, devices[-1].split(":"))
        for word in words:
            name, _, value = word.partition("=")
            if name in _IO_KEYS:
                in_bytes, kind = _IO_KEYS[name]
                entry = some(major=major, minor=minor, op=kind, value=int(value))
                (moved if in_bytes else requests).append(entry)
    return {
        **some(ioServiceBytesRecursive=moved, ioServicedRecursive=requests),
        **_pressure(f"{path}/io.pressure"),
    }


def _pressure(path: str) -> dict[str, Any]:
    """Pressure stall information, where the kernel has it (accounting/psi)."""
    found: dict[str, Any] = {}
    for line in read(path).splitlines():
        kind, *pairs = line.split()
        words = dict(pair.split("=") for pair in pairs)
        total = int(words.pop("total", "0"))
        found[kind] = {**{name: float(value) for name, value in words.items()}, "total": total}
    return {"psi": found} if found else {}
