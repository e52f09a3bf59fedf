# SPDX-License-Identifier: Apache-2.0
"""The v1 driver works on the real kernel, with the cgroups of this machine."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cgrouping import (
    as_user,
    cgroups_of,
    in_child,
    inside,
    removed,
    sleeper,
    unused_path,
    v1_manager,
    value,
)
from launching import SECONDS
from libcontainer.cgroups import FROZEN, RUNNING, UNDEFINED, Layout, Manager, layout
from libcontainer.cgroups.fs import LegacyManager
from libcontainer.configs import BlockIODevice, Cgroup, DeviceRule, HugepageLimit, Resources
from libcontainer.errors import ConfigError, ContainerError
from nsenter._cgroups import files
from nsenter._host.syscalls import Failure
from processes import stat_fields, wait_until

MIB = 1 << 20
NOTHING = Resources(skip_devices=True)


def controllers() -> set[str]:
    return {c for hierarchy in layout().all() for c in hierarchy.controllers}


@pytest.fixture(autouse=True)
def needs_v1() -> None:
    assert layout().hierarchies, "no cgroup v1 here; test_cgroups_v2_real is for such machines"


# ---- in and out


def test_a_process_is_in_one_cgroup_everywhere() -> None:
    path = unused_path()
    with removed(v1_manager(path)) as manager, sleeper() as child:
        assert not manager.exists()
        manager.create()
        assert manager.exists()
        assert manager.pids() == []
        manager.add(child.pid)
        found = cgroups_of(child.pid)
        assert {c: found[c] for c in controllers()} == dict.fromkeys(controllers(), path)
        assert manager.pids() == [child.pid]
    assert not manager.exists()


def test_made_anew_it_is_no_error_and_neither_is_removing_what_is_not_there() -> None:
    outer = unused_path()
    with removed(v1_manager(f"{outer}/in/side")) as manager:
        manager.create()
        manager.create()
        manager.destroy()
        manager.destroy()
    LegacyManager(Cgroup(path=outer), layout(), None).destroy()


def test_a_process_that_writes_its_own_way_in_is_not_moved_from_outside() -> None:
    path = unused_path()
    with removed(v1_manager(path)) as manager:
        manager.create()
        unified, tasks_fds = manager.fd(), manager.tasks_fds()

        def enter() -> str:
            for fd in tasks_fds:
                os.write(fd, b"0")
            return repr(cgroups_of("self"))

        found = eval(in_child(enter))
        for fd in (unified, *tasks_fds):
            os.close(fd)
        legacy = controllers() - {""}
        assert {c: found[c] for c in legacy} == dict.fromkeys(legacy, path)


def test_the_processes_of_cgroups_below_are_its_own() -> None:
    with removed(v1_manager()) as manager, sleeper() as one, sleeper() as two:
        manager.create()
        for directory in manager.paths().values():
            Path(directory, "job").mkdir(exist_ok=True)
        job = Path(manager.paths()["cpuset"], "job")
        for file in ("cpuset.cpus", "cpuset.mems"):
            (job / file).write_text((job.parent / file).read_text())
        below = manager.below({"": "job"})
        manager.add(one.pid)
        below.add(two.pid)
        assert cgroups_of(two.pid)["memory"].endswith("/job")
        assert below.pids() == [two.pid]
        assert manager.pids() == sorted((one.pid, two.pid))
        assert manager.pids(recursive=False) == [one.pid]


def test_a_cgroup_of_one_controller_alone() -> None:
    with removed(v1_manager()) as manager, sleeper() as child:
        manager.create()
        Path(manager.paths()["pids"], "few").mkdir()
        manager.below({"pids": "few"}).add(child.pid)
        found = cgroups_of(child.pid)
        assert found["pids"] == f"{found['memory']}/few"


@pytest.mark.parametrize("controller", ["", "pids"])
def test_a_cgroup_below_that_is_not_there_is_named(controller: str) -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        why = r"/missing/cgroup.procs: no such file or directory"
        with pytest.raises(Failure, match=why) as caught:
            manager.below({controller: "there/../missing"})
        assert caught.value.subject.startswith("/sys/fs/cgroup/")
        assert ".." not in caught.value.subject


def test_a_cgroup_that_is_not_below_and_a_controller_that_is_none_are_refused() -> None:
    with removed(v1_manager()) as manager:
        with pytest.raises(ContainerError, match=r"\.\./x is not a sub cgroup path"):
            manager.below({"pids": "../x"})
        with pytest.raises(ContainerError, match="unknown controller what"):
            manager.below({"what": "x"})


def test_cpus_and_memory_nodes_come_from_above_at_every_step() -> None:
    path = unused_path()
    with removed(v1_manager(path)) as outer:
        inner = v1_manager(f"{path}/a/b")
        inner.create()
        for file in ("cpuset.cpus", "cpuset.mems"):
            root = Path("/sys/fs/cgroup/cpuset", file).read_text().strip()
            assert value(inner, "cpuset", file) == root
        assert outer.exists()


def test_what_was_made_is_taken_back_where_the_rest_cannot_be(tmp_path: Path) -> None:
    """A hierarchy that cannot be written to: a file stands where its folder should be."""
    here = layout()
    first = here.hierarchies[0]
    (tmp_path / "pids").touch()
    machine = Layout(
        f"1 0 0:1 / {first.mount_point} rw - cgroup cgroup rw,{','.join(first.controllers)}\n"
        f"2 0 0:2 / {tmp_path}/pids rw - cgroup cgroup rw,pids\n"
    )
    path = unused_path()
    with pytest.raises(Failure, match=f"mkdir {tmp_path}/pids{path}: Not a directory"):
        v1_manager(path, machine).create()
    assert not Path(first.mount_point + path).exists()


def test_processes_that_do_not_end_are_named_when_it_is_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nsenter._cgroups.files.LONGEST_WAIT", 0.05)
    with removed(v1_manager()) as manager:
        with sleeper() as child:
            manager.create()
            manager.add(child.pid)
            with pytest.raises(Failure, match=r"rmdir /sys/.*processes that are in the way"):
                manager.destroy()
        manager.destroy()


def test_a_process_that_is_just_ending_is_waited_for() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        child = subprocess.Popen(["sleep", "0.05"])
        manager.add(child.pid)
        manager.destroy()
        child.wait()


# ---- limits: what is set is what the kernel has

ROWS = [
    ({"memory": 32 * MIB}, "memory", "memory.limit_in_bytes", str(32 * MIB)),
    ({"memory_reservation": 16 * MIB}, "memory", "memory.soft_limit_in_bytes", str(16 * MIB)),
    ({"memory_swappiness": 7}, "memory", "memory.swappiness", "7"),
    ({"cpu_shares": 512}, "cpu", "cpu.shares", "512"),
    ({"cpu_quota": 50000}, "cpu", "cpu.cfs_quota_us", "50000"),
    ({"cpu_period": 50000}, "cpu", "cpu.cfs_period_us", "50000"),
    ({"cpu_quota": 50000, "cpu_burst": 10000}, "cpu", "cpu.cfs_burst_us", "10000"),
    ({"cpu_idle": 1}, "cpu", "cpu.idle", "1"),
    ({"cpu_rt_period": 500000}, "cpu", "cpu.rt_period_us", "500000"),
    ({"cpuset_cpus": "0"}, "cpuset", "cpuset.cpus", "0"),
    ({"cpuset_mems": "0"}, "cpuset", "cpuset.mems", "0"),
    ({"pids_limit": 12}, "pids", "pids.max", "12"),
    ({"pids_limit": -1}, "pids", "pids.max", "max"),
    ({"blkio_weight": 300}, "blkio", "blkio.bfq.weight", "300"),
]


@pytest.mark.parametrize(("fields", "controller", "file", "expected"), ROWS)
def test_a_limit(fields: dict[str, object], controller: str, file: str, expected: str) -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(Resources(skip_devices=True, **fields))
        assert value(manager, controller, file) == expected


def test_nothing_asked_nothing_written() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        before = value(manager, "memory", "memory.limit_in_bytes")
        manager.set(NOTHING)
        assert value(manager, "memory", "memory.limit_in_bytes") == before


def test_memory_and_swap_go_up_and_down_together() -> None:
    """The kernel refuses memory above memory and swap at every moment."""
    with removed(v1_manager()) as manager:
        manager.create()
        for memory, both in ((32, 64), (128, 256), (16, 16), (512, 512), (8, 8), (-1, -1)):
            manager.set(
                NOTHING.replace(
                    memory=memory * MIB if memory > 0 else -1,
                    memory_swap=both * MIB if both > 0 else -1,
                )
            )
            if memory > 0:
                limit = value(manager, "memory", "memory.limit_in_bytes")
                swap = value(manager, "memory", "memory.memsw.limit_in_bytes")
                assert (int(limit), int(swap)) == (memory * MIB, both * MIB)


def test_quota_period_and_burst_go_up_and_down_together() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        for quota, period, burst in (
            (50000, 100000, 50000),
            (5000, 10000, 5000),
            (200000, 1000000, 200000),
            (1000, 1000, 0),
        ):
            manager.set(NOTHING.replace(cpu_quota=quota, cpu_period=period, cpu_burst=burst))
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us", "cpu.cfs_burst_us")
            assert [int(value(manager, "cpu", name)) for name in names] == [quota, period, burst]


def test_real_time_goes_up_and_down_together() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        # A hundredth of a processor: tests/places/worker.py has not much more to give.
        for runtime, period in ((10000, 1_000_000), (1000, 100_000), (10000, 1_000_000)):
            manager.set(NOTHING.replace(cpu_rt_quota=runtime, cpu_rt_period=period))
            assert value(manager, "cpu", "cpu.rt_runtime_us") == str(runtime)
            assert value(manager, "cpu", "cpu.rt_period_us") == str(period)


def test_shares_after_idleness() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING.replace(cpu_idle=1))
        manager.set(NOTHING.replace(cpu_idle=0, cpu_shares=700))
        assert value(manager, "cpu", "cpu.shares") == "700"


def test_the_oom_killer_is_disabled() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING.replace(memory=32 * MIB, oom_kill_disable=True))
        assert "oom_kill_disable 1" in value(manager, "memory", "memory.oom_control")


def disk() -> BlockIODevice:
    number = Path("/").stat().st_dev
    return BlockIODevice(os.major(number), os.minor(number), MIB)


def test_a_disk_is_throttled() -> None:
    whole = disk()
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(
            NOTHING.replace(
                blkio_throttle_read_bps_device=[whole], blkio_throttle_write_iops_device=[whole]
            )
        )
        line = f"{whole.major}:{whole.minor} {MIB}"
        assert value(manager, "blkio", "blkio.throttle.read_bps_device") == line
        assert value(manager, "blkio", "blkio.throttle.write_iops_device") == line


@pytest.mark.parametrize(
    ("fields", "says", "number"),
    [
        ({"cpuset_cpus": "4000"}, r"/cpuset\.cpus: 4000: ", None),
        ({"cpu_quota": 5}, r"/cpu\.cfs_quota_us: 5: Invalid argument", errno.EINVAL),
        ({"hugetlb_limit": [HugepageLimit("2MB", 1)]}, r"no hugetlb hierarchy", errno.ENOENT),
        ({"net_cls_classid": 5}, r"net_cls\.classid: 5 \(no net_cls hierarchy", errno.ENOENT),
        (
            {"blkio_throttle_read_bps_device": [BlockIODevice(4000, 7, 1)]},
            r"read_bps_device: 4000:7 1: No such device",
            errno.ENODEV,
        ),
    ],
)
def test_a_refused_limit_names_file_and_value(
    fields: dict[str, object], says: str, number: int | None
) -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        with pytest.raises(Failure, match=says) as caught:
            manager.set(NOTHING.replace(**fields))
        assert number in (None, caught.value.errno)


def test_memory_below_its_usage_says_so() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        tasks = f"{manager.paths()['memory']}/tasks"
        with sleeper("sh", "-c", f"echo 0 > {tasks}; exec sleep 1000"):
            wait_until(lambda: value(manager, "memory", "memory.usage_in_bytes") != "0")
            with pytest.raises(Failure, match=r"bytes are in use, and memory\.checkBeforeUpdate"):
                manager.set(NOTHING.replace(memory=1, memory_check_before_update=True))
            assert int(value(manager, "memory", "memory.limit_in_bytes")) > MIB


SET_FIRST: dict[str, Any] = {
    "memory": 64 * MIB, "memory_swap": 96 * MIB, "memory_reservation": 32 * MIB,
    "memory_swappiness": 7, "cpu_shares": 300, "cpu_period": 50000, "cpu_quota": 20000,
    "cpu_burst": 10000, "cpuset_cpus": "0", "cpuset_mems": "0", "pids_limit": 20,
}  # fmt: skip
SET_LATER: dict[str, Any] = {
    "memory": 16 * MIB, "memory_swap": 24 * MIB, "memory_reservation": 8 * MIB,
    "memory_swappiness": 9, "cpu_shares": 500, "cpu_period": 30000, "cpu_quota": 9000,
    "cpu_burst": 5000, "cpuset_cpus": "0-1", "pids_limit": 10, "oom_kill_disable": True,
}  # fmt: skip


def contents(manager: Manager) -> dict[str, str]:
    """Every limit that a cgroup has."""
    patterns = {
        "memory": "memory.*limit_in_bytes memory.swappiness memory.oom_control",
        "cpu": "cpu.*",
        "cpuset": "cpuset.cpus cpuset.mems",
        "pids": "pids.max",
        "blkio": "blkio.throttle.*_device",
    }
    return {
        str(path): files.read(str(path))
        for controller, names in patterns.items()
        for name in names.split()
        for path in Path(manager.paths()[controller]).glob(name)
        if path.name != "cpu.stat"
    }


@pytest.mark.parametrize("before", [{}, SET_FIRST], ids=["none", "others"])
@pytest.mark.parametrize("controller", ["hugetlb", "blkio", "pids"])
def test_what_is_refused_halfway_leaves_every_limit_as_it_was(
    before: dict[str, Any], controller: str
) -> None:
    refused: dict[str, Any] = {
        "hugetlb": {"hugetlb_limit": [HugepageLimit("3MB", 1)]},
        "pids": {"pids_limit": 1 << 60},
        "blkio": {
            "blkio_throttle_read_bps_device": [disk()],
            "blkio_throttle_write_bps_device": [BlockIODevice(4095, 1, 5)],
        },
    }
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING.replace(**before))
        as_before = contents(manager)
        with pytest.raises(Failure):
            manager.set(NOTHING.replace(**SET_LATER | refused[controller]))
        assert contents(manager) == as_before


def test_files_of_v2_are_refused_by_their_place_in_the_config() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        with pytest.raises(ConfigError, match=r"linux\.resources\.unified: this machine has"):
            manager.set(NOTHING.replace(unified={"memory.max": "1"}))


# ---- devices


def test_devices_are_allowed_by_the_kernel() -> None:
    rules = [DeviceRule(), DeviceRule("c", 1, 3, "rwm", True)]
    with removed(v1_manager()) as manager:
        manager.create()
        directory = Path(manager.paths()["devices"])

        def opened(device: str) -> str:
            def work() -> str:
                (directory / "tasks").write_text("0")
                os.close(os.open(device, os.O_RDWR))
                return "opened"

            return in_child(work).partition(":")[0]

        manager.set(Resources(devices=rules))
        assert (directory / "devices.list").read_text() == "c 1:3 rwm\n"
        assert (opened("/dev/null"), opened("/dev/zero")) == ("opened", "PermissionError")
        manager.set(Resources(devices=[DeviceRule(), DeviceRule("c", 1, 5, "rwm", True)]))
        assert (directory / "devices.list").read_text() == "c 1:5 rwm\n"
        assert (opened("/dev/null"), opened("/dev/zero")) == ("PermissionError", "opened")
        manager.set(Resources(devices=[DeviceRule(allow=True), DeviceRule("c", 1, 5, "w")]))
        assert (opened("/dev/null"), opened("/dev/zero")) == ("opened", "PermissionError")
        manager.set(Resources(devices=[DeviceRule(allow=True)]))
        assert (opened("/dev/null"), opened("/dev/zero")) == ("opened", "opened")


def test_devices_are_left_alone_where_that_is_said() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING)
        assert value(manager, "devices", "devices.list") == "a *:* rwm"


# ---- freezing and killing


def progress(child: subprocess.Popen[bytes]) -> int:
    fields = stat_fields(child.pid)
    return int(fields[11]) + int(fields[12])


def test_a_frozen_container_does_nothing_until_it_is_thawed() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        with inside(manager, "while :; do :; done") as child:
            assert manager.freezer_state() == RUNNING
            manager.freeze()
            assert manager.freezer_state() == FROZEN
            before = progress(child)
            time.sleep(0.03)
            assert progress(child) == before
            manager.thaw()
            assert manager.freezer_state() == RUNNING


def test_one_that_forks_without_end_is_frozen() -> None:
    script = "while :; do for i in 1 2 3 4; do /bin/true & done; wait; done"
    with removed(v1_manager()) as manager:
        manager.create()
        with inside(manager, script):
            time.sleep(0.02)
            for _ in range(5):
                manager.freeze()
                assert value(manager, "freezer", "freezer.state") == "FROZEN"
                manager.thaw()


def test_a_frozen_cgroup_above_is_not_its_own_state() -> None:
    path = unused_path()
    with removed(v1_manager(path)) as outer:
        inner = v1_manager(f"{path}/in")
        inner.create()
        outer.freeze()
        assert (outer.freezer_state(), inner.freezer_state()) == (FROZEN, RUNNING)
        outer.thaw()


@pytest.mark.parametrize("is_made", [False, True])
def test_one_below_a_frozen_cgroup_is_known_to_be_frozen(is_made: bool) -> None:
    path = unused_path()
    with removed(v1_manager(path)) as outer:
        inner = v1_manager(f"{path}/a/b")
        outer.create()
        if is_made:
            inner.create()
        assert (outer.frozen_place(), inner.frozen_place()) == ("", "")
        outer.freeze()
        place = inner.paths()["freezer"] if is_made else outer.paths()["freezer"]
        assert inner.frozen_place() == place
        outer.thaw()
        assert inner.frozen_place() == ""


def test_without_a_cgroup_there_is_no_state() -> None:
    assert v1_manager().freezer_state() == UNDEFINED


def test_what_is_frozen_is_killed() -> None:
    with removed(v1_manager()) as manager, sleeper() as child:
        manager.create()
        manager.add(child.pid)
        manager.freeze()
        manager.kill(signal.SIGKILL)
        assert child.wait(SECONDS) == -signal.SIGKILL
        assert manager.freezer_state() == RUNNING


def test_another_signal_leaves_it_frozen() -> None:
    with removed(v1_manager()) as manager, sleeper() as child:
        manager.create()
        manager.add(child.pid)
        manager.freeze()
        manager.kill(signal.SIGTERM)
        assert manager.freezer_state() == FROZEN
        manager.thaw()
        assert child.wait(SECONDS) == -signal.SIGTERM


def test_none_gets_away_by_forking() -> None:
    script = "while :; do sleep 1000 & sleep 0.001; done"
    with removed(v1_manager()) as manager:
        manager.create()
        with inside(manager, script) as child:
            time.sleep(0.05)
            manager.kill(signal.SIGTERM)
            child.wait(SECONDS)
            wait_until(lambda: manager.pids() == [])


# ---- without privileges


def test_without_privileges_there_is_none_and_nothing_is_missed() -> None:
    name = unused_path()[1:]

    def work() -> str:
        manager = LegacyManager(Cgroup(name=name, rootless=True), layout(), None)
        manager.create()
        manager.add(os.getpid())
        manager.set(Resources(devices=[DeviceRule()]))
        manager.destroy()
        return repr((manager.paths(), manager.pids(), manager.exists()))

    assert as_user(work) == "({}, [], False)"


def test_without_privileges_a_limit_is_refused() -> None:
    name = unused_path()[1:]

    def work() -> str:
        manager = LegacyManager(Cgroup(name=name, rootless=True), layout(), None)
        manager.create()
        manager.set(NOTHING.replace(pids_limit=5))
        return "set"

    assert as_user(work).startswith("Failure: cannot set pids limit: container could not join")


@pytest.mark.parametrize(
    "cgroup",
    [Cgroup(path="/nsx-test-denied", rootless=True), Cgroup(name="nsx-test-denied")],
    ids=["a path was asked for", "not rootless"],
)
def test_a_cgroup_that_has_to_be_is_not_passed_over(cgroup: Cgroup) -> None:
    def work() -> str:
        LegacyManager(cgroup, layout(), None).create()
        return "made"

    answer = as_user(work)
    assert answer.startswith("Failure: mkdir /sys/fs/cgroup/")
    assert "Permission denied (have a cgroup delegated, or run as root)" in answer


# ---- being told


def test_not_enough_memory_is_told() -> None:
    eat = "import os; x = bytearray(64 << 20); x[::4096] = b'x' * len(x[::4096])"
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING.replace(memory=16 * MIB, memory_swap=16 * MIB))
        tasks = Path(manager.paths()["memory"], "tasks")
        with manager.watch_oom() as watch:
            assert not watch.wait(0)
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", f"open('{tasks}', 'w').write('0'); {eat}"]
            )
            assert watch.wait(SECONDS)
            assert child.wait(SECONDS) == -signal.SIGKILL
            assert not watch.gone
            while watch.wait(0):
                pass  # told more than once of the same
            manager.destroy()
            assert not watch.wait(SECONDS)
            assert watch.gone


def test_it_ends_with_its_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        watch = manager.watch_oom()
        monkeypatch.setattr(manager, "watch_oom", lambda: watch)
        manager.destroy()
        assert list(manager.oom_events()) == []


def test_what_it_uses_is_told() -> None:
    with removed(v1_manager()) as manager:
        manager.create()
        manager.set(NOTHING.replace(pids_limit=9, memory=64 * MIB, cpu_quota=50000))
        with inside(manager, "while :; do :; done"):
            wait_until(lambda: manager.stats()["cpu"]["usage"].get("total"))
            stats = manager.stats()
    assert stats["pids"] == {"current": 1, "limit": 9}
    assert stats["cpu"]["usage"]["total"] > 0
    assert len(stats["cpu"]["usage"]["percpu"]) == os.cpu_count()
    assert stats["memory"]["usage"]["limit"] == 64 * MIB
    assert stats["memory"]["raw"]["hierarchical_memory_limit"] == 64 * MIB
    assert stats["cpuset"]["cpus"] == list(range(os.cpu_count() or 1))
