# SPDX-License-Identifier: Apache-2.0
"""Each limit of v1 and v2 is written to the right file, with the right value and in order."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from libcontainer.cgroups import Layout, fs2_limits, fs2_stats, fs_limits
from libcontainer.cgroups.fs2 import UnifiedManager
from libcontainer.configs import (
    BlockIODevice,
    Cgroup,
    HugepageLimit,
    NetworkPriority,
    RdmaLimit,
    Resources,
)
from libcontainer.errors import ConfigError
from nsenter._cgroups import files
from nsenter._host.syscalls import Failure

DISK = BlockIODevice(8, 0, 500)
V1 = [
    ({}, []),
    ({"memory": 4096}, ["memory memory.limit_in_bytes 4096"]),
    ({"memory": 0, "memory_swap": 0, "cpu_shares": 0, "cpu_quota": 0}, []),
    (
        {"memory": 4096, "memory_swap": 8192},
        ["memory memory.limit_in_bytes 4096", "memory memory.memsw.limit_in_bytes 8192"],
    ),
    ({"memory": -1}, ["memory memory.limit_in_bytes -1", "memory memory.memsw.limit_in_bytes -1"]),
    ({"memory_reservation": 4096}, ["memory memory.soft_limit_in_bytes 4096"]),
    ({"memory_swappiness": 0}, ["memory memory.swappiness 0"]),
    ({"memory_swappiness": -1}, []),
    ({"oom_kill_disable": True}, ["memory memory.oom_control 1"]),
    ({"cpu_shares": 512}, ["cpu cpu.shares 512"]),
    (
        {"cpu_quota": -1, "cpu_period": 50000, "cpu_burst": 0},
        ["cpu cpu.cfs_period_us 50000", "cpu cpu.cfs_quota_us -1", "cpu cpu.cfs_burst_us 0"],
    ),
    ({"cpu_idle": 1}, ["cpu cpu.idle 1"]),
    ({"cpu_idle": 1, "cpu_shares": 512}, ["cpu cpu.idle 1"]),
    (
        {"cpu_rt_period": 1000, "cpu_rt_quota": 500},
        ["cpu cpu.rt_period_us 1000", "cpu cpu.rt_runtime_us 500"],
    ),
    (
        {"cpuset_cpus": "0-1", "cpuset_mems": "0"},
        ["cpuset cpuset.cpus 0-1", "cpuset cpuset.mems 0"],
    ),
    ({"pids_limit": 7}, ["pids pids.max 7"]),
    ({"pids_limit": -1}, ["pids pids.max max"]),
    ({"pids_limit": 0}, ["pids pids.max 1"]),
    ({"blkio_weight": 300}, ["blkio blkio.weight 300"]),
    ({"blkio_leaf_weight": 300}, ["blkio blkio.leaf_weight 300"]),
    (
        {"blkio_weight_device": [DISK.replace(leaf_weight=30)]},
        ["blkio blkio.weight_device 8:0 500", "blkio blkio.leaf_weight_device 8:0 30"],
    ),
    (
        {"blkio_throttle_read_bps_device": [DISK], "blkio_throttle_write_iops_device": [DISK]},
        [
            "blkio blkio.throttle.read_bps_device 8:0 500",
            "blkio blkio.throttle.write_iops_device 8:0 500",
        ],
    ),
    (
        {"hugetlb_limit": [HugepageLimit("2MB", 4096)]},
        [
            "hugetlb hugetlb.2MB.limit_in_bytes 4096",
            "hugetlb hugetlb.2MB.rsvd.limit_in_bytes 4096",
        ],
    ),
    ({"net_cls_classid": 1048577}, ["net_cls net_cls.classid 1048577"]),
    ({"net_prio_ifpriomap": [NetworkPriority("lo", 3)]}, ["net_prio net_prio.ifpriomap lo 3"]),
    (
        {"rdma": [RdmaLimit("mlx5_0", 3), RdmaLimit("mlx5_1", 1, 2)]},
        ["rdma rdma.max mlx5_0 hca_handle=3", "rdma rdma.max mlx5_1 hca_handle=1 hca_object=2"],
    ),
]
V2 = [
    ({}, []),
    ({"memory": 4096}, ["memory.max 4096"]),
    ({"memory": -1}, ["memory.swap.max max", "memory.max max"]),
    ({"memory": 4096, "memory_swap": 8192}, ["memory.swap.max 4096", "memory.max 4096"]),
    ({"memory": 4096, "memory_swap": 4096}, ["memory.swap.max 0", "memory.max 4096"]),
    ({"memory": 4096, "memory_swap": -1}, ["memory.swap.max max", "memory.max 4096"]),
    ({"memory": -1, "memory_swap": 4096}, ["memory.swap.max 4096", "memory.max max"]),
    ({"memory_reservation": 4096}, ["memory.low 4096"]),
    ({"memory_swappiness": 5, "oom_kill_disable": True}, []),
    ({"cpu_shares": 1024}, ["cpu.weight 100"]),
    ({"cpu_quota": 5000}, ["cpu.max 5000 100000"]),
    ({"cpu_period": 5000}, ["cpu.max max 5000"]),
    ({"cpu_quota": -1, "cpu_period": 5000}, ["cpu.max max 5000"]),
    ({"cpu_quota": 5000, "cpu_burst": 0}, ["cpu.max.burst 0", "cpu.max 5000 100000"]),
    ({"cpu_idle": 0, "cpu_shares": 2}, ["cpu.weight 1", "cpu.idle 0"]),
    ({"cpu_idle": 1, "cpu_shares": 2}, ["cpu.idle 1"]),
    ({"cpuset_cpus": "0", "cpuset_mems": "0"}, ["cpuset.cpus 0", "cpuset.mems 0"]),
    ({"pids_limit": 7}, ["pids.max 7"]),
    ({"pids_limit": -1}, ["pids.max max"]),
    ({"blkio_weight": 10}, ["io.bfq.weight 10"]),
    ({"blkio_weight_device": [DISK]}, ["io.bfq.weight 8:0 500"]),
    ({"blkio_weight_device": [BlockIODevice(8, 0, 0, leaf_weight=300)]}, []),
    (
        {
            "blkio_throttle_read_bps_device": [DISK],
            "blkio_throttle_write_bps_device": [DISK],
            "blkio_throttle_read_iops_device": [DISK],
            "blkio_throttle_write_iops_device": [BlockIODevice(8, 16, 0)],
        },
        [
            "io.max 8:0 rbps=500",
            "io.max 8:0 wbps=500",
            "io.max 8:0 riops=500",
            "io.max 8:16 wiops=max",
        ],
    ),
    (
        {"hugetlb_limit": [HugepageLimit("2MB", 4096)]},
        ["hugetlb.2MB.max 4096", "hugetlb.2MB.rsvd.max 4096"],
    ),
    ({"rdma": [RdmaLimit("mlx5_0", None, 2)]}, ["rdma.max mlx5_0 hca_object=2"]),
    (
        {"pids_limit": 7, "unified": {"pids.max": "9", "io.max": "8:0 rbps=1\n8:16 rbps=2\n"}},
        ["pids.max 7", "pids.max 9", "io.max 8:0 rbps=1", "io.max 8:16 rbps=2"],
    ),
    ({"net_cls_classid": 5}, []),
]


def v1(resources: Resources, there: str = "all") -> list[str]:
    plan = fs_limits.limits(resources, lambda controller, file: there)
    return [f"{controller} {file} {value}" for controller, ws in plan for file, value in ws]


def v2(resources: Resources, there: str = "all") -> list[str]:
    plan = fs2_limits.limits(resources, lambda file: there)
    return [f"{file} {value}" for writes in plan for file, value in writes]


@pytest.mark.parametrize(("fields", "expected"), V1)
def test_files_and_values_of_v1(fields: dict[str, object], expected: list[str]) -> None:
    assert v1(Resources(**fields)) == expected


@pytest.mark.parametrize(("fields", "expected"), V2)
def test_files_and_values_of_v2(fields: dict[str, object], expected: list[str]) -> None:
    assert v2(Resources(**fields)) == expected


def test_without_bfq_weights_are_those_of_io_weight() -> None:
    resources = Resources(blkio_weight=500, blkio_weight_device=[BlockIODevice(8, 0, 1000)])
    assert v2(resources, there="") == ["io.weight default 4950", "io.weight 8:0 10000"]


def test_v1_weights_are_bfqs_where_the_kernel_has_no_other() -> None:
    assert v1(Resources(blkio_weight=500), there="") == ["blkio blkio.bfq.weight 500"]


def test_v1_without_swap_accounting_unlimited_memory_is_all_that_is_said() -> None:
    assert v1(Resources(memory=-1), there="") == ["memory memory.limit_in_bytes -1"]


@pytest.mark.parametrize(
    ("shares", "weight"),
    [
        *[(0, 1), (2, 1), (3, 2), (10, 4), (100, 17), (512, 59), (1024, 100), (2048, 174)],
        *[(65_536, 3023), (262_143, 10_000), (262_144, 10_000), (1 << 40, 10_000)],
    ],
)
def test_shares_as_weight(shares: int, weight: int) -> None:
    assert fs2_limits.cpu_weight(shares) == weight


@pytest.mark.parametrize(("old", "new"), [(10, 1), (500, 4950), (1000, 10_000), (1, 1)])
def test_io_weight(old: int, new: int) -> None:
    assert fs2_limits.io_weight(old) == new


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"memory_swap": 4096}, "linux.resources.memory.swap"),
        ({"memory": 8192, "memory_swap": 4096}, "linux.resources.memory.swap"),
        ({"unified": {"../x": "1"}}, "linux.resources.unified['../x']"),
        ({"unified": {"a/b": "1"}}, "linux.resources.unified['a/b']"),
        ({"unified": {"..": "1"}}, "linux.resources.unified['..']"),
    ],
)
def test_what_v2_refuses(fields: dict[str, object], where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        v2(Resources(**fields))
    assert caught.value.path == where


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"cpu_shares": 1}, "minimum allowed cpu-shares is 2"),
        ({"cpu_shares": 262_145}, "maximum allowed cpu-shares is 262144"),
        ({"memory_swappiness": 101}, "not from 0 to 100"),
    ],
)
def test_what_v1_refuses(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        v1(Resources(**fields))


@pytest.mark.parametrize("version", [v1, v2])
def test_memory_below_its_usage_is_refused_only_where_that_is_to_be_checked(version: Any) -> None:
    assert version(Resources(memory=4096), there="8192\n")
    with pytest.raises(Failure, match="8192 bytes are in use") as caught:
        version(Resources(memory=4096, memory_check_before_update=True), there="8192\n")
    assert caught.value.errno == errno.EBUSY
    assert version(Resources(memory=8193, memory_check_before_update=True), there="8192\n")


# ---- writing


def test_an_error_names_the_file_and_the_value(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        files.write(f"{tmp_path}/memory.max", "4096")
    assert str(caught.value).startswith(f"write {tmp_path}/memory.max: 4096: No such file")
    assert "not enabled" in str(caught.value)
    assert caught.value.errno == errno.ENOENT


# ---- the manager of v2 on a folder that stands for the file system


def fake(tmp_path: Path, path: str = "/a/b", **fields: Any) -> UnifiedManager:
    mountinfo = f"30 1 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw\n"
    return UnifiedManager(Cgroup(path=path, **fields), Layout(mountinfo, "0::/me\n"), None)


def test_controllers_are_passed_on_at_each_step(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    fake(tmp_path).create()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    assert (tmp_path / "a" / "b").is_dir()
    assert list((tmp_path / "a").iterdir()) == [tmp_path / "a" / "b"]


def test_a_limit_of_a_controller_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    manager = fake(tmp_path)
    manager.create()
    with pytest.raises(Failure, match="the memory controller is not enabled") as caught:
        manager.set(Resources(memory=4096, skip_devices=True))
    assert caught.value.subject == f"{tmp_path}/a/b/memory.max: 4096"


def test_a_file_that_the_kernel_lacks_is_told_from_a_controller_that_is_off(tmp_path: Path) -> None:
    manager = fake(tmp_path)
    manager.create()
    (tmp_path / "a" / "b" / "cgroup.controllers").write_text("cpu\n")
    with pytest.raises(Failure, match="this kernel does not have the file"):
        manager.set(Resources(cpu_idle=1, skip_devices=True))


def test_swap_need_not_be_there_to_have_none(tmp_path: Path) -> None:
    manager = fake(tmp_path)
    manager.create()
    limit = tmp_path / "a" / "b" / "memory.max"
    limit.touch()
    manager.set(Resources(memory=4096, memory_swap=4096, skip_devices=True))
    assert limit.read_text() == "4096"
    with pytest.raises(Failure, match=r"memory\.swap\.max: 1"):
        manager.set(Resources(memory=4096, memory_swap=4097, skip_devices=True))


def test_memory_cannot_be_limited_among_threads(tmp_path: Path) -> None:
    inner = tmp_path / "t"
    inner.mkdir()
    manager = fake(tmp_path, "/t/x", resources=Resources(memory=4096))
    for kind, refused in (("domain", False), ("threaded", True), ("domain invalid", True)):
        (inner / "cgroup.type").write_text(kind + "\n")
        try:
            manager._check_type(str(inner))
            assert not refused
        except Failure as failure:
            assert refused
            assert "its type is" in str(failure)
    assert (inner / "cgroup.type").read_text() == "domain invalid\n"
    fake(tmp_path, "/t/x")._check_type(str(inner))
    assert (inner / "cgroup.type").read_text().startswith("threaded")


def test_the_mounts_own_root_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "others").mkdir()
    fake(tmp_path, "/").destroy()
    assert (tmp_path / "others").is_dir()


# ---- what is used


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n", []),
        ("8:0 rbytes=5 wbytes=0 rios=1\n", [(8, 0, 5)]),
        ("8:0 \n8:16 rbytes=7\n", [(8, 16, 7)]),
        ("8:0 8:16 rbytes=7\n", [(8, 16, 7)]),
        ("8:0 rbytes=5 cost.usage=3 depth=0\n253:1 rbytes=6\n", [(8, 0, 5), (253, 1, 6)]),
    ],
)
def test_io_is_read_as_every_kernel_tells_it(
    tmp_path: Path, text: str, found: list[tuple[int, int, int]]
) -> None:
    (tmp_path / "io.stat").write_text(text)
    told = fs2_stats.stats(str(tmp_path))["blkio"].get("ioServiceBytesRecursive", [])
    reads = [entry for entry in told if entry["op"] == "Read"]
    assert [(e["major"], e.get("minor", 0), e["value"]) for e in reads] == found
