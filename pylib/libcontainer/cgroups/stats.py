# SPDX-License-Identifier: Apache-2.0
"""What a cgroup uses, in the shape that `runc events --stats` prints."""

from __future__ import annotations

import os

from libcontainer.cgroups.base import read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

_UNLIMITED = 2**64 - 1
_TICK_NS = 10**9 // os.sysconf("SC_CLK_TCK")


def _number(path: str) -> int:
    text = read(path).strip()
    if text == "max":
        return _UNLIMITED
    return int(text) if text.lstrip("-").isdecimal() else 0


def _table(path: str) -> dict[str, int]:
    """ "name number" in each line."""
    pairs = (line.split() for line in read(path).splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].isdecimal()}


def _nested(path: str) -> dict[str, dict[str, int]]:
    """ "8:0 rbytes=1 wbytes=2" in each line."""
    found = {}
    for line in read(path).splitlines():
        name, *pairs = line.split()
        split = (pair.partition("=") for pair in pairs)
        found[name] = {key: int(value) for key, _, value in split if value.isdecimal()}
    return found


def _pressure(path: str) -> dict[str, Any] | None:
    """Pressure stall information (PSI)."""
    found = {}
    for line in read(path).splitlines():
        kind, *pairs = line.split()
        values = dict(pair.split("=") for pair in pairs)
        found[kind] = {k: float(v) for k, v in values.items() if k != "total"}
        found[kind]["total"] = int(values.get("total", "0"))
    return found or None


def unified_stats(path: str) -> dict[str, Any]:
    """Of cgroup v2."""
    cpu, memory = _table(f"{path}/cpu.stat"), _table(f"{path}/memory.stat")
    stats: dict[str, Any] = {
        "cpu": {
            "usage": {
                "total": cpu.get("usage_usec", 0) * 1000,
                "kernel": cpu.get("system_usec", 0) * 1000,
                "user": cpu.get("user_usec", 0) * 1000,
            },
            "throttling": {
                "periods": cpu.get("nr_periods", 0),
                "throttledPeriods": cpu.get("nr_throttled", 0),
                "throttledTime": cpu.get("throttled_usec", 0) * 1000,
            },
        },
        "memory": {
            "cache": memory.get("file", 0),
            "usage": _memory(path, "memory.current", "memory.max", "memory.peak"),
            "swap": _memory(path, "memory.swap.current", "memory.swap.max", ""),
            "kernel": {"usage": memory.get("kernel", 0), "failcnt": 0},
            "kernelTCP": {"usage": memory.get("sock", 0), "failcnt": 0},
            "raw": memory,
        },
        "pids": {"current": _number(f"{path}/pids.current"), "limit": _limit(f"{path}/pids.max")},
        "blkio": {"ioServiceBytesRecursive": [], "ioServicedRecursive": []},
        "hugetlb": _hugetlb(path, "current", "max"),
    }
    stats["memory"]["usage"]["failcnt"] = _table(f"{path}/memory.events").get("max", 0)
    for device, values in _nested(f"{path}/io.stat").items():
        major, _, minor = device.partition(":")
        for name, value in values.items():
            kind = "ioServiceBytesRecursive" if name.endswith("bytes") else "ioServicedRecursive"
            operation = {"r": "Read", "w": "Write", "d": "Discard"}.get(name[0], name)
            entry = {"major": int(major), "minor": int(minor), "op": operation, "value": value}
            stats["blkio"][kind].append(entry)
    for controller in ("cpu", "memory", "io"):
        pressure = _pressure(f"{path}/{controller}.pressure")
        if pressure:
            stats["blkio" if controller == "io" else controller]["psi"] = pressure
    return stats


def _limit(path: str) -> int:
    """0 where there is none, as runc has it for pids."""
    number = _number(path)
    return 0 if number == _UNLIMITED else number


def _memory(path: str, usage: str, limit: str, peak: str) -> dict[str, int]:
    return {
        "limit": _number(f"{path}/{limit}"),
        "usage": _number(f"{path}/{usage}"),
        "max": _number(f"{path}/{peak}") if peak else 0,
        "failcnt": 0,
    }


def legacy_stats(paths: Mapping[str, str]) -> dict[str, Any]:
    """Of cgroup v1, of the controllers that there are."""
    memory, pids = paths.get("memory", ""), paths.get("pids", "")
    raw = _table(f"{memory}/memory.stat")
    return {
        "cpu": _legacy_cpu(paths.get("cpu", ""), paths.get("cpuacct", "")),
        "memory": {
            "cache": raw.get("cache", 0),
            "usage": _legacy_memory(memory, "memory"),
            "swap": _legacy_memory(memory, "memory.memsw"),
            "kernel": _legacy_memory(memory, "memory.kmem"),
            "kernelTCP": _legacy_memory(memory, "memory.kmem.tcp"),
            "raw": raw,
        },
        "pids": {"current": _number(f"{pids}/pids.current"), "limit": _limit(f"{pids}/pids.max")},
        "blkio": _legacy_blkio(paths.get("blkio", "")),
        "hugetlb": _hugetlb(paths.get("hugetlb", ""), "usage_in_bytes", "max_usage_in_bytes"),
    }


def _legacy_cpu(cpu: str, cpuacct: str) -> dict[str, Any]:
    throttling = _table(f"{cpu}/cpu.stat")
    ticks = _table(f"{cpuacct}/cpuacct.stat")
    return {
        "usage": {
            "total": _number(f"{cpuacct}/cpuacct.usage"),
            "percpu": [int(n) for n in read(f"{cpuacct}/cpuacct.usage_percpu").split()],
            "kernel": ticks.get("system", 0) * _TICK_NS,
            "user": ticks.get("user", 0) * _TICK_NS,
        },
        "throttling": {
            "periods": throttling.get("nr_periods", 0),
            "throttledPeriods": throttling.get("nr_throttled", 0),
            "throttledTime": throttling.get("throttled_time", 0),
        },
    }


def _legacy_memory(path: str, prefix: str) -> dict[str, int]:
    return {
        "limit": _number(f"{path}/{prefix}.limit_in_bytes"),
        "usage": _number(f"{path}/{prefix}.usage_in_bytes"),
        "max": _number(f"{path}/{prefix}.max_usage_in_bytes"),
        "failcnt": _number(f"{path}/{prefix}.failcnt"),
    }


def _legacy_blkio(path: str) -> dict[str, Any]:
    files = {
        "ioServiceBytesRecursive": "blkio.throttle.io_service_bytes_recursive",
        "ioServicedRecursive": "blkio.throttle.io_serviced_recursive",
    }
    return {key: _operations(f"{path}/{file}") for key, file in files.items()}


def _operations(path: str) -> list[dict[str, Any]]:
    """ "8:0 Read 4096" in each line; the last is the total of all."""
    found = []
    for line in read(path).splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            found.append(
                {"major": int(major), "minor": int(minor), "op": words[1], "value": int(words[2])}
            )
    return found


def _hugetlb(path: str, usage: str, peak: str) -> dict[str, Any]:
    """By page size."""
    found = {}
    try:
        names = os.listdir(path) if path else []
    except FileNotFoundError:
        names = []
    for name in names:
        if name.startswith("hugetlb.") and name.endswith(f".{usage}") and ".rsvd." not in name:
            size = name.split(".")[1]
            found[size] = {
                "usage": _number(f"{path}/{name}"),
                "max": _number(f"{path}/hugetlb.{size}.{peak}"),
                "failcnt": _number(f"{path}/hugetlb.{size}.failcnt"),
            }
    return found
