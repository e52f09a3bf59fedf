# SPDX-License-Identifier: Apache-2.0
"""The same resources, given to runc and to our manager, lead to the same values in the files."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgrouping import removed, unused_path
from libcontainer.cgroups import layout, new_manager
from libcontainer.configs import Cgroup
from libcontainer.specconv import resources_from_spec
from needs import needs

MIB = 1 << 20
DISK = Path("/").stat().st_dev
MAJOR, MINOR = DISK >> 8, DISK & 0xFF
SETTINGS = {
    "memory": "limit_in_bytes memsw.limit_in_bytes soft_limit_in_bytes swappiness oom_control",
    "cpu": "shares cfs_quota_us cfs_period_us rt_period_us rt_runtime_us idle",
    "cpuset": "cpus mems cpu_exclusive memory_migrate",
    "pids": "max",
    "blkio": "bfq.weight throttle.read_bps_device throttle.write_bps_device "
    "throttle.read_iops_device throttle.write_iops_device",
    "devices": "list",
    "freezer": "state",
}
# Not cpu.weight, which runc converts in another way since 1.3.2.
V2_SETTINGS = (
    "memory.max memory.low memory.swap.max cpu.max cpu.idle cpuset.cpus cpuset.mems "
    "pids.max io.max io.bfq.weight cgroup.freeze cgroup.subtree_control"
)
ROWS = {
    "nothing": {},
    "memory": {"memory": {"limit": 64 * MIB}},
    "memory and swap": {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
    "memory and no swap": {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
    "unlimited": {"memory": {"limit": -1}},
    "unlimited swap": {"memory": {"limit": 64 * MIB, "swap": -1}},
    "reservation": {"memory": {"limit": 64 * MIB, "reservation": 32 * MIB}},
    "swappiness": {"memory": {"swappiness": 10}},
    "no oom killer": {"memory": {"limit": 64 * MIB, "disableOOMKiller": True}},
    "shares": {"cpu": {"shares": 2}},
    "more shares": {"cpu": {"shares": 4096}},
    "quota": {"cpu": {"quota": 30000}},
    "no quota": {"cpu": {"quota": -1}},
    "quota and period": {"cpu": {"quota": 30000, "period": 60000}},
    "period": {"cpu": {"period": 60000}},
    "cpus": {"cpu": {"cpus": "0", "mems": "0"}},
    "pids": {"pids": {"limit": 20}},
    "no pids limit": {"pids": {"limit": -1}},
    "weight": {"blockIO": {"weight": 250}},
    "throttled": {
        "blockIO": {
            "throttleReadBpsDevice": [{"major": MAJOR, "minor": MINOR, "rate": 10 * MIB}],
            "throttleWriteIOPSDevice": [{"major": MAJOR, "minor": MINOR, "rate": 300}],
        }
    },
    "all at once": {
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 32 * MIB, "swappiness": 1},
        "cpu": {"shares": 300, "quota": 30000, "period": 60000, "cpus": "0"},
        "pids": {"limit": 20},
    },
    "no devices": {"devices": [{"allow": False, "access": "rwm"}]},
    "a device": {
        "devices": [
            {"allow": False, "access": "rwm"},
            {"allow": True, "type": "b", "major": 7, "minor": 5, "access": "rw"},
            {"allow": True, "type": "c", "major": 10, "access": "r"},
            {"allow": False, "type": "b", "major": 7, "minor": 5, "access": "w"},
        ]
    },
    "all devices": {"devices": [{"allow": True, "access": "rwm"}]},
}
# Not here: cpu.idle and cpu.burst, and a pids limit of 0, which runc 1.1 does not know.
V1_ROWS = {"real time": {"cpu": {"realtimePeriod": 500000, "realtimeRuntime": 10000}}}
# What runc allows in each container besides (runc's specconv, AllowedDevices), in its own order.
ALLOWED = [
    *({"allow": True, "type": kind, "access": "m"} for kind in "cb"),
    *(
        {"allow": True, "type": "c", "major": major, "minor": minor, "access": "rwm"}
        for major, minor in ((1, 3), (1, 8), (1, 7), (5, 0), (1, 5), (1, 9), (5, 2), (10, 200))
    ),
    {"allow": True, "type": "c", "major": 136, "access": "rwm"},
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    for name in ("bin", "proc", "dev", "sys"):
        (folder / "rootfs" / name).mkdir(parents=True)
    shutil.copy(needs("busybox", package="busybox-static"), folder / "rootfs/bin/sleep")
    subprocess.run([needs("runc", package="runc"), "spec"], cwd=folder, check=True)
    return folder


def runc(*words: str | Path, bundle: Path) -> str:
    command = [needs("runc", package="runc"), "--root", bundle / "state", *words]
    # Its output is a file: a pipe would be held by the container.
    with (bundle / "output").open("w+") as output:
        done = subprocess.run(
            command, cwd=bundle, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        output.seek(0)
        text = output.read()
    assert done.returncode == 0, text
    return text


@pytest.fixture
def started(bundle: Path) -> Iterator[object]:
    """Have runc start a container with these resources; gives its cgroup's path."""
    names = []

    def start(resources: dict[str, object]) -> str:
        path = unused_path()
        spec = json.loads((bundle / "config.json").read_text())
        spec["process"] |= {"terminal": False, "args": ["/bin/sleep", "1000"], "rlimits": []}
        spec["linux"] |= {"resources": resources, "cgroupsPath": path}
        (bundle / "config.json").write_text(json.dumps(spec))
        names.append(path[1:])
        runc("run", "-d", path[1:], bundle=bundle)
        return path

    yield start
    for name in names:
        runc("delete", "-f", name, bundle=bundle)


def seen(paths: dict[str, str]) -> dict[str, list[str]]:
    """The settings in the kernel's files."""
    if layout().unified:
        files = [Path(paths[""], name) for name in V2_SETTINGS.split()]
    else:
        files = [
            Path(paths[controller], f"{controller}.{name}")
            for controller, names in SETTINGS.items()
            for name in names.split()
        ]
    return {f.name: settled(f.read_text()) for f in files if f.exists()}


def settled(text: str) -> list[str]:
    """The lines in any order, without what the kernel counts (the last of memory.oom_control)."""
    return sorted(line for line in text.splitlines() if not line.startswith("oom_kill "))


@pytest.mark.parametrize("name", [*ROWS, *(V1_ROWS if layout().hierarchies else ())])
def test_the_files_say_the_same(name: str, started: object) -> None:
    resources = (ROWS | V1_ROWS)[name]
    theirs = new_manager(Cgroup(path=started(resources)))  # type: ignore[operator]
    told = {**resources, "devices": [*resources.get("devices", []), *ALLOWED]}  # type: ignore[attr-defined, dict-item]
    with removed(new_manager(Cgroup(path=unused_path()))) as ours:
        ours.create()
        ours.set(resources_from_spec(told))
        assert seen(ours.paths()) == seen(theirs.paths())


def test_a_container_of_runc_is_where_ours_would_be(started: object, bundle: Path) -> None:
    path = started({})  # type: ignore[operator]
    state = json.loads((bundle / "state" / path[1:] / "state.json").read_text())
    assert new_manager(Cgroup(path=path)).paths() == state["cgroup_paths"]


def shape(value: object) -> object:
    """Without the numbers."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return type(value).__name__


def test_its_statistics_have_runcs_shape(started: object, bundle: Path) -> None:
    path = started({"memory": {"limit": 64 * MIB}, "pids": {"limit": 20}})  # type: ignore[operator]
    told = json.loads(runc("events", "--stats", path[1:], bundle=bundle))["data"]
    ours = new_manager(Cgroup(path=path)).stats()
    assert told.pop("network_interfaces") is None
    for stats in (told, ours):
        # Numbers that are left out when they are 0, and this is a moment later.
        stats["cpu"]["usage"].pop("total", None)
        stats.pop("blkio")
        for name in ("psi", "kernel", "kernelTCP", "cache"):
            stats["memory"].pop(name, None)
        stats["cpu"].pop("psi", None)
        stats["memory"]["usage"].pop("max", None)  # of v2 only newer ones tell it (memory.peak)
    assert shape(ours) == shape(told)
    assert ours["pids"]["limit"] == told["pids"]["limit"] == 20
    assert ours["memory"]["usage"]["limit"] == told["memory"]["usage"]["limit"]
    assert ours["cpuset"] == told["cpuset"]


def test_a_container_that_runc_paused_is_paused_and_goes_on(started: object, bundle: Path) -> None:
    path = started({})  # type: ignore[operator]
    manager = new_manager(Cgroup(path=path))
    runc("pause", path[1:], bundle=bundle)
    assert manager.freezer_state() == "frozen"
    manager.thaw()
    assert json.loads(runc("state", path[1:], bundle=bundle))["status"] == "running"
    manager.freeze()
    assert json.loads(runc("state", path[1:], bundle=bundle))["status"] == "paused"
    manager.thaw()


def test_relative_paths_lead_to_the_same_cgroup(bundle: Path) -> None:
    spec = json.loads((bundle / "config.json").read_text())
    spec["process"] |= {"terminal": False, "args": ["/bin/sleep", "1000"], "rlimits": []}
    relative = f"{unused_path()[1:]}/../{unused_path()[1:]}"
    spec["linux"] |= {"resources": {}, "cgroupsPath": relative}
    (bundle / "config.json").write_text(json.dumps(spec))
    name = unused_path()[1:]
    runc("run", "-d", name, bundle=bundle)
    try:
        state = json.loads((bundle / "state" / name / "state.json").read_text())
        assert new_manager(Cgroup(path=relative)).paths() == state["cgroup_paths"]
    finally:
        runc("delete", "-f", name, bundle=bundle)
