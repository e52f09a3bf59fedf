# SPDX-License-Identifier: Apache-2.0
"""What a container is limited to by cgroup v2: read back from its files, and seen to work."""

from __future__ import annotations

import json
import os
import resource
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import session
from containers import ALIVE, Box, Runtime, in_cgroup, resources, running, runtime
from interop.oci_bundles import Config, made, make_root, scratch_folder, shell, write_bundle
from session import CGROUPS, DELEGATED, UID

MIB = 1 << 20
DISK = os.stat("/dev/nvme0n1").st_rdev
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
        {"cpu.weight": "20", "cpu.max": "50000 200000"},
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
RUNTIMES = ("pyrunc", "runc")


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with scratch_folder() as path:
        yield path


@pytest.fixture(scope="module")
def root(folder: Path) -> Path:
    return make_root(folder / "root")


@pytest.fixture(scope="module")
def pyrunc(folder: Path) -> Runtime:
    return runtime("pyrunc", folder)


@pytest.fixture(scope="module")
def runc(folder: Path) -> Runtime:
    return runtime("runc", folder)


# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", LIMITS)
def test_a_limit_is_in_the_files_of_the_cgroup(
    pyrunc: Runtime, folder: Path, root: Path, case: str
) -> None:
    limits, expected = LIMITS[case]
    with running(pyrunc, folder, root, resources(limits)) as box:
        assert box.files(list(expected)) == expected
        inside = box.exec(f"cd /sys/fs/cgroup && cat {' '.join(expected)}")
    assert inside.splitlines() == list(expected.values())


@pytest.mark.parametrize("case", LIMITS)
def test_every_file_is_as_runc_leaves_it(
    pyrunc: Runtime, runc: Runtime, folder: Path, root: Path, case: str
) -> None:
    edit = resources(LIMITS[case][0])
    with running(pyrunc, folder, root, edit) as ours, running(runc, folder, root, edit) as theirs:
        assert ours.settings() == theirs.settings()
