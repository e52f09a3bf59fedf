"""Each limit of linux.resources arrives in the Resources of a Config, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from full_spec import FULL, SHORT, changed
from libcontainer.configs import (
    BlockIODevice,
    DeviceRule,
    HugepageLimit,
    NetworkPriority,
    RdmaLimit,
    Resources,
)
from libcontainer.specconv import config_from_spec, resources_from_spec

THROTTLE = (BlockIODevice(8, 0, 2**20),)
TOLD = {
    "devices": (
        DeviceRule("a", -1, -1, "rwm", False),
        DeviceRule("c", 10, 229, "rw", True),
    ),
    "memory": 2**26,
    "memory_reservation": 2**25,
    "memory_swap": 2**27,
    "memory_swappiness": 10,
    "memory_check_before_update": True,
    "oom_kill_disable": True,
    "cpu_shares": 512,
    "cpu_quota": 50_000,
    "cpu_burst": 1000,
    "cpu_period": 100_000,
    "cpu_rt_quota": 900,
    "cpu_rt_period": 1000,
    "cpu_idle": 1,
    "cpuset_cpus": "0-1",
    "cpuset_mems": "0",
    "pids_limit": 100,
    "blkio_weight": 500,
    "blkio_leaf_weight": 300,
    "blkio_weight_device": (BlockIODevice(8, 0, 200, 100),),
    "blkio_throttle_read_bps_device": THROTTLE,
    "blkio_throttle_write_bps_device": THROTTLE,
    "blkio_throttle_read_iops_device": THROTTLE,
    "blkio_throttle_write_iops_device": THROTTLE,
    "hugetlb_limit": (HugepageLimit("2MB", 2**30),),
    "net_cls_classid": 1048577,
    "net_prio_ifpriomap": (NetworkPriority("eth0", 500),),
    "rdma": (RdmaLimit("mlx5_1", 3, 10000),),
    "unified": {"memory.high": "67108864"},
}
# As runc 1.1.5 shows them in devices.list, but for the tun device, which later ones leave out.
ALWAYS = (
    DeviceRule("c", -1, -1, "m", True),
    DeviceRule("b", -1, -1, "m", True),
    DeviceRule("c", 1, 3, "rwm", True),
    DeviceRule("c", 1, 8, "rwm", True),
    DeviceRule("c", 1, 7, "rwm", True),
    DeviceRule("c", 5, 0, "rwm", True),
    DeviceRule("c", 1, 5, "rwm", True),
    DeviceRule("c", 1, 9, "rwm", True),
    DeviceRule("c", 136, -1, "rwm", True),
    DeviceRule("c", 5, 2, "rwm", True),
)
DENY_ALL = DeviceRule("a", -1, -1, "rwm", False)


def devices(spec: Any) -> tuple[DeviceRule, ...]:
    return config_from_spec(spec, id="x", bundle="/b").cgroups.resources.devices


def test_every_limit_of_the_file_is_there() -> None:
    assert dict(resources_from_spec(FULL["linux"]["resources"])._told()) == TOLD


def test_every_limit_there_is_can_be_said() -> None:
    assert TOLD.keys() | {"skip_devices"} == Resources._fields.keys()


@pytest.mark.parametrize(
    "zero",
    [
        {"memory": {"limit": 0, "reservation": 0, "swap": 0}},
        {"cpu": {"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0, "realtimePeriod": 0}},
        {"blockIO": {"weight": 0, "leafWeight": 0}},
        {"network": {"classID": 0}},
        {"memory": {}, "cpu": {}, "pids": {}, "blockIO": {}, "network": {}, "rdma": {}},
        {"memory": None, "devices": None, "unified": None},
    ],
)
def test_a_zero_says_nothing_where_runc_takes_it_so(zero: Any) -> None:
    assert resources_from_spec(zero) == Resources()


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"memory": {"swappiness": 0}}, "memory_swappiness", 0),
        ({"cpu": {"burst": 0}}, "cpu_burst", 0),
        ({"cpu": {"idle": 0}}, "cpu_idle", 0),
        ({"memory": {"limit": -1}}, "memory", -1),
        ({"cpu": {"quota": -1}}, "cpu_quota", -1),
        ({"pids": {"limit": -1}}, "pids_limit", -1),
        ({"pids": {"limit": 0}}, "pids_limit", 0),
        ({"cpu": {"shares": 2**64 - 1}}, "cpu_shares", 2**64 - 1),
    ],
)
def test_a_number_that_means_something_is_kept(given: Any, field: str, value: int) -> None:
    assert getattr(resources_from_spec(given), field) == value


def test_the_file_s_device_rules_come_before_what_is_always_allowed() -> None:
    rule = {"allow": True, "type": "b", "major": 8, "access": "r"}
    spec = changed(SHORT, "linux.resources", {"devices": [rule]})

    assert devices(spec) == (DeviceRule("b", 8, -1, "r", True), *ALWAYS)


def test_an_a_in_a_rule_s_access_says_nothing() -> None:
    rule = {"allow": False, "type": "c", "major": 1, "minor": 11, "access": "rwa"}
    spec = changed(SHORT, "linux.resources", {"devices": [rule]})

    assert devices(spec)[0] == DeviceRule("c", 1, 11, "rw", False)


@pytest.mark.parametrize("resources", [None, {}, {"devices": []}, {"devices": None}])
def test_all_else_is_denied_where_the_file_says_nothing(resources: Any) -> None:
    assert devices(changed(SHORT, "linux.resources", resources)) == (DENY_ALL, *ALWAYS)


def test_a_device_that_the_file_replaces_is_not_allowed_by_itself() -> None:
    device = {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5}

    rules = devices(changed(SHORT, "linux.devices", [device]))

    assert rules == (DENY_ALL, *(rule for rule in ALWAYS if (rule.major, rule.minor) != (1, 5)))
