# SPDX-License-Identifier: Apache-2.0
"""Limits of a container, as config.json has them and as cgroup v2 does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

MIB = 1 << 20
DISK = Path("/dev/nvme0n1").stat().st_rdev
DEVICE = {"major": os.major(DISK), "minor": os.minor(DISK)}
NAME = f"{os.major(DISK)}:{os.minor(DISK)}"

# name → linux.resources, and what is then in which file (admin-guide/cgroup-v2; the conversions of
# v1's numbers are those of the runtime specification's config-linux.md and of runc)
LIMITS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "memory": (
        {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB, "swap": 96 * MIB}},
        {
            "memory.max": str(64 * MIB),
            "memory.low": str(32 * MIB),
            "memory.swap.max": str(32 * MIB),
        },
    ),
    "memory-without-swap": (
        {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
        {"memory.max": str(64 * MIB), "memory.swap.max": "0"},
    ),
    "memory-unlimited": (
        {"memory": {"limit": -1}},
        {"memory.max": "max", "memory.swap.max": "max"},
    ),
    "cpu": (
        {"cpu": {"shares": 512, "quota": 50_000, "period": 200_000}},
        {"cpu.weight": "59", "cpu.max": "50000 200000"},
    ),
    "cpu-quota-alone": ({"cpu": {"quota": 30_000}}, {"cpu.max": "30000 100000"}),
    "cpu-unlimited": ({"cpu": {"quota": -1, "period": 50_000}}, {"cpu.max": "max 50000"}),
    "cpuset": (
        {"cpu": {"cpus": "1", "mems": "0"}},
        {"cpuset.cpus": "1", "cpuset.cpus.effective": "1", "cpuset.mems": "0"},
    ),
    "pids": ({"pids": {"limit": 33}}, {"pids.max": "33"}),
    "pids-unlimited": ({"pids": {"limit": -1}}, {"pids.max": "max"}),
    "io": (
        {
            "blockIO": {
                "weight": 300,
                "throttleReadBpsDevice": [{**DEVICE, "rate": MIB}],
                "throttleWriteIOPSDevice": [{**DEVICE, "rate": 120}],
            }
        },
        {
            "io.weight": "default 2930",
            "io.max": f"{NAME} rbps={MIB} wbps=max riops=max wiops=120",
        },
    ),
    "hugetlb": (
        {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
        {"hugetlb.2MB.max": str(4 * MIB)},
    ),
    "unified": (
        {"unified": {"memory.high": str(50 * MIB), "pids.max": "44", "cpu.weight.nice": "5"}},
        {"memory.high": str(50 * MIB), "pids.max": "44", "cpu.weight.nice": "5"},
    ),
}
# Newer runcs and pyrunc limit what is reserved, too, or a process is killed where it uses it; and
# they convert shares in another way.
NEWER_THAN_THIS_RUNC = ("hugetlb.2MB.rsvd.max", "cpu.weight", "cpu.weight.nice")
