# SPDX-License-Identifier: Apache-2.0
"""The v2 driver works on the real kernel.

The unified hierarchy may be the only one, with every controller, or exist beside v1 with none. A
limit is either set and read back, or refused with the name of its controller. Everything else is
the same.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
    v2_layout,
    v2_manager,
    v2_root,
    value,
)
from launching import SECONDS
from libcontainer.cgroups import FROZEN, RUNNING, UNDEFINED
from libcontainer.cgroups.fs2 import UnifiedManager
from libcontainer.configs import BlockIODevice, Cgroup, HugepageLimit, Resources
from libcontainer.errors import ContainerError
from nsenter._host.syscalls import Failure
from processes import stat_fields, threads_of, wait_until

MIB = 1 << 20
NOTHING = Resources(skip_devices=True)
USER = 4242


def controllers() -> set[str]:
    """Those that cgroups at the top can have: one with processes, unless it is the machine's own
    root, gives none to those below."""
    offered = Path(v2_root(), "cgroup.subtree_control")
    for name in Path(v2_root(), "cgroup.controllers").read_text().split():
        with contextlib.suppress(OSError):
            offered.write_text(f"+{name}")
    return set(offered.read_text().split())


def disk() -> BlockIODevice:
    """A whole disk, which is what can be throttled."""
    for entry in sorted(Path("/sys/block").iterdir()):
        if int((entry / "size").read_text()) and not entry.name.startswith(("ram", "loop")):
            major, minor = (entry / "dev").read_text().split(":")
            return BlockIODevice(int(major), int(minor), MIB)
    raise AssertionError("no disk in /sys/block")


# ---- in and out


def test_a_process_is_moved_in() -> None:
    path = unused_path()
    with removed(v2_manager(path)) as manager, sleeper() as child:
        assert not manager.exists()
        manager.create()
        manager.add(child.pid)
        assert cgroups_of(child.pid)[""] == path
        assert manager.pids() == [child.pid]
    assert not manager.exists()


def test_a_process_is_cloned_into_the_descriptor() -> None:
    from nsenter import Namespaces, Program, bootstrap_data
    from nsenter.launch import launch

    path = unused_path()
    with removed(v2_manager(path)) as manager:
        manager.create()
        fd = manager.fd()
        assert not manager.has_tasks_fds()
        assert fd is not None
        try:
            with launch(bootstrap_data(Namespaces()), Program(["sleep", "9"]), cgroup=fd) as child:
                assert cgroups_of(child.pid)[""] == path
                manager.kill(signal.SIGKILL)
                assert child.wait() == -signal.SIGKILL
        finally:
            os.close(fd)


def test_all_controllers_are_passed_on_on_the_way() -> None:
    path = unused_path()
    with removed(v2_manager(path)) as outer:
        inner = v2_manager(f"{path}/a/b")
        inner.create()
        assert set(value(inner, "", "cgroup.controllers").split()) == controllers()
        above = Path(outer.paths()[""], "a", "cgroup.subtree_control").read_text()
        assert set(above.split()) == controllers()
        assert value(inner, "", "cgroup.subtree_control") == ""


def test_controllers_are_passed_on_to_one_that_was_there_already() -> None:
    path = unused_path()
    with removed(v2_manager(path)) as outer:
        Path(outer.paths()[""], "a").mkdir(parents=True)
        inner = v2_manager(f"{path}/a")
        inner.create()
        assert set(value(inner, "", "cgroup.controllers").split()) == controllers()


def test_a_cgroup_below() -> None:
    with removed(v2_manager()) as manager, sleeper() as child:
        manager.create()
        Path(manager.paths()[""], "job").mkdir()
        job = manager.below({"": "other/../job"})
        job.add(child.pid)
        assert job.pids() == manager.pids() == [child.pid]
        assert manager.pids(recursive=False) == []
        with pytest.raises(Failure, match=r"none/cgroup.procs: no such file or directory"):
            manager.below({"": "none"})
        for paths in ({"": "../job"}, {"": "job/../.."}, {"pids": "job"}):
            with pytest.raises(ContainerError, match=r"sub cgroup path|one path for all"):
                manager.below(paths)


# ---- limits

ROWS = [
    ({"memory": 32 * MIB}, "memory.max", str(32 * MIB)),
    ({"memory": -1}, "memory.max", "max"),
    ({"memory_reservation": 16 * MIB}, "memory.low", str(16 * MIB)),
    ({"cpu_shares": 512}, "cpu.weight", "59"),
    ({"cpu_quota": 50000}, "cpu.max", "50000 100000"),
    ({"cpu_quota": 50000, "cpu_period": 20000}, "cpu.max", "50000 20000"),
    ({"cpu_period": 20000}, "cpu.max", "max 20000"),
    ({"cpu_quota": 50000, "cpu_burst": 10000}, "cpu.max.burst", "10000"),
    ({"cpu_idle": 1}, "cpu.idle", "1"),
    ({"cpuset_cpus": "0"}, "cpuset.cpus", "0"),
    ({"cpuset_mems": "0"}, "cpuset.mems", "0"),
    ({"pids_limit": 12}, "pids.max", "12"),
    ({"pids_limit": -1}, "pids.max", "max"),
    ({"unified": {"pids.max": "13"}}, "pids.max", "13"),
    ({"unified": {"memory.high": str(MIB)}}, "memory.high", str(MIB)),
]


@pytest.mark.parametrize(("fields", "file", "expected"), ROWS)
def test_a_limit(fields: dict[str, object], file: str, expected: str) -> None:
    controller = file.partition(".")[0]
    with removed(v2_manager()) as manager:
        manager.create()
        limits = NOTHING.replace(**fields)
        if controller in controllers():
            manager.set(limits)
            assert value(manager, "", file) == expected
        else:
            with pytest.raises(Failure, match=f"the {controller} controller is not") as caught:
                manager.set(limits)
            assert caught.value.errno == errno.ENOENT


def limited(file: str, fields: dict[str, object]) -> str | None:
    """The file when the limits are set; None where its controller is not enabled."""
    controller = file.partition(".")[0]
    with removed(v2_manager()) as manager:
        manager.create()
        if controller in controllers():
            manager.set(NOTHING.replace(**fields))
            return value(manager, "", file)
        with pytest.raises(Failure, match=f"the {controller} controller is not enabled"):
            manager.set(NOTHING.replace(**fields))
    return None


def test_swap_is_what_is_above_memory() -> None:
    found = limited("memory.swap.max", {"memory": 32 * MIB, "memory_swap": 48 * MIB})
    assert found in (None, str(16 * MIB))


def test_a_disk_is_throttled() -> None:
    one = disk()
    fields = {"blkio_throttle_read_bps_device": [one], "blkio_throttle_write_iops_device": [one]}
    line = f"{one.major}:{one.minor} rbps={MIB} wbps=max riops=max wiops={MIB}"
    assert limited("io.max", fields) in (None, line)


def test_a_weight_of_io() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        here = Path(manager.paths()[""])
        # Which of them there is, the kernel's modules decide; one of them for the io controller.
        for file, expected in (("io.bfq.weight", "default 500"), ("io.weight", "default 4950")):
            if (here / file).exists():
                manager.set(NOTHING.replace(blkio_weight=500))
                assert (here / file).read_text().strip() in (expected, "500")
                return
        with pytest.raises(Failure, match=r"io\.weight: default 4950"):
            manager.set(NOTHING.replace(blkio_weight=500))


def test_huge_pages() -> None:
    for folder in Path("/sys/kernel/mm/hugepages").glob("hugepages-2048kB"):
        assert folder.is_dir()
        limit = [HugepageLimit("2MB", 4 * MIB)]
        for file in ("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"):
            assert limited(file, {"hugetlb_limit": limit}) in (None, str(4 * MIB))


def test_quota_and_burst_go_up_and_down_together() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        steps = ((50000, 50000), (5000, 5000), (90000, 90000), (1000, 0))
        for quota, burst in steps if "cpu" in controllers() else ():
            manager.set(NOTHING.replace(cpu_quota=quota, cpu_burst=burst))
            assert value(manager, "", "cpu.max") == f"{quota} 100000"
            assert value(manager, "", "cpu.max.burst") == str(burst)


def test_a_file_that_no_controller_has_is_refused() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        with pytest.raises(Failure, match=r"nosuch\.file: 1: the nosuch controller is not enabled"):
            manager.set(NOTHING.replace(unified={"nosuch.file": "1"}))


def test_a_file_that_can_only_be_written_is_written() -> None:
    with removed(v2_manager()) as manager, sleeper() as child:
        manager.create()
        manager.add(child.pid)
        manager.set(NOTHING.replace(unified={"cgroup.kill": "1"}))
        assert child.wait(SECONDS) == -signal.SIGKILL


# ---- freezing and killing


def progress(child: subprocess.Popen[bytes]) -> int:
    fields = stat_fields(child.pid)
    return int(fields[11]) + int(fields[12])


def test_a_frozen_container_does_nothing_until_it_is_thawed() -> None:
    with removed(v2_manager()) as manager:
        assert manager.freezer_state() == UNDEFINED
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


@pytest.mark.parametrize("is_made", [False, True])
def test_one_below_a_frozen_cgroup_is_known_to_be_frozen(is_made: bool) -> None:
    path = unused_path()
    with removed(v2_manager(path)) as outer:
        inner = v2_manager(f"{path}/a/b")
        outer.create()
        if is_made:
            inner.create()
        assert (outer.frozen_place(), inner.frozen_place()) == ("", "")
        outer.freeze()
        place = inner.paths()[""] if is_made else outer.paths()[""]
        assert inner.frozen_place() == place
        outer.thaw()
        assert inner.frozen_place() == ""


def test_nobody_at_all_is_frozen() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        manager.freeze()
        assert manager.freezer_state() == FROZEN


def test_one_that_does_not_freeze_in_time_is_let_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many that compute cannot all have stopped when they have just been told."""
    monkeypatch.setattr("nsenter._cgroups.files.LONGEST_WAIT", 0)
    script = "for i in $(seq 20); do while :; do :; done & done; wait"
    with removed(v2_manager()) as manager:
        manager.create()
        with inside(manager, script):
            # With the shell, which then makes no more: Linux before 6.14 may miss a process that is
            # being made when all of a cgroup are killed.
            wait_until(lambda: len(manager.pids()) == 21)
            with pytest.raises(Failure, match=r"cgroup\.events: frozen 1: a process does not stop"):
                for _ in range(1000):  # where there is a processor for each, they may all have
                    manager.freeze()
                    manager.thaw()
            assert manager.freezer_state() == RUNNING
            monkeypatch.undo()


def test_all_are_killed_at_once_frozen_or_not() -> None:
    script = "while :; do sleep 1000 & sleep 0.001; done"
    for frozen in (False, True):
        with removed(v2_manager()) as manager:
            manager.create()
            with inside(manager, script) as child:
                time.sleep(0.02)
                if frozen:
                    manager.freeze()
                manager.kill(signal.SIGKILL)
                assert child.wait(SECONDS) == -signal.SIGKILL
                manager.destroy()


def test_another_signal_is_sent_to_each() -> None:
    with removed(v2_manager()) as manager, sleeper() as one, sleeper() as two:
        manager.create()
        manager.add(one.pid)
        manager.add(two.pid)
        manager.kill(signal.SIGTERM)
        assert [one.wait(SECONDS), two.wait(SECONDS)] == [-signal.SIGTERM] * 2


def test_they_are_frozen_while_each_is_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is made that the signal does not reach."""
    seen = []
    with removed(v2_manager()) as manager, sleeper() as child:
        manager.create()
        manager.add(child.pid)

        def kill(pid: int, number: int) -> None:
            seen.append((pid, manager.freezer_state()))

        with monkeypatch.context() as patched:
            patched.setattr(os, "kill", kill)
            manager.kill(signal.SIGTERM)
        assert seen == [(child.pid, FROZEN)]
        assert manager.freezer_state() == RUNNING


def test_one_that_may_not_be_signalled_keeps_nothing_from_the_others() -> None:
    """As with a program that is setuid, in the container of a user."""
    with removed(v2_manager()) as manager, sleeper() as roots:
        manager.create()
        manager.add(roots.pid)

        def work() -> str:
            child = subprocess.Popen(["sleep", "1000"])
            enter.write(f"{child.pid}\n")
            enter.flush()
            wait_until(lambda: child.pid in manager.pids())
            try:
                manager.kill(signal.SIGTERM)
            except Failure as failure:
                return f"{failure.errno} {failure.subject} {child.wait(SECONDS)}"
            return "no error"

        with Path(manager.paths()[""], "cgroup.procs").open("w") as enter:
            answer = as_user(work)
        path = manager.paths()[""]
        assert answer == f"{errno.EPERM} process {roots.pid} of {path} {-signal.SIGTERM}"
        assert roots.poll() is None


# ---- cgroups of threads


@contextlib.contextmanager
def above_threads() -> Iterator[str]:
    """The path of a cgroup below which there are only cgroups of threads (cgroups(7))."""
    path = unused_path()
    top = Path(v2_root() + path)
    (top / "threads").mkdir(parents=True)
    try:
        (top / "threads" / "cgroup.type").write_text("threaded")
        yield path
    finally:
        (top / "threads").rmdir()
        top.rmdir()


def test_the_processes_of_a_cgroup_of_threads_are_known() -> None:
    with above_threads() as path, removed(v2_manager(f"{path}/box")) as manager:
        manager.create()
        assert value(manager, "", "cgroup.type") == "threaded"
        assert (manager.pids(), manager.has_processes()) == ([], False)
        with sleeper(sys.executable, "-c", WITH_THREADS) as child:
            wait_until(lambda: len(threads_of(child.pid)) == 3)
            manager.add(child.pid)
            assert (manager.pids(), manager.has_processes()) == ([child.pid], True)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_processes_of_a_cgroup_of_threads_are_killed(number: int) -> None:
    """It has a cgroup.kill that refuses to be written."""
    with above_threads() as path, removed(v2_manager(f"{path}/box")) as manager:
        manager.create()
        with sleeper() as child:
            manager.add(child.pid)
            manager.kill(number)
            assert child.wait(SECONDS) == -number


WITH_THREADS = """
import threading
for _ in range(2):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
threading.Event().wait()
"""


# ---- delegation, and without privileges


def test_the_containers_root_manages_what_it_is_given_and_nothing_else() -> None:
    path = unused_path()
    with removed(v2_manager(path, owner_uid=USER)) as manager:
        manager.create()
        here = Path(manager.paths()[""])
        assert here.stat().st_uid == USER
        for name in ("cgroup.procs", "cgroup.subtree_control", "cgroup.threads"):
            assert (here / name).stat().st_uid == USER
        for name in ("cgroup.freeze", "cgroup.kill", "cgroup.max.depth"):
            assert (here / name).stat().st_uid == 0
        answer = as_user(lambda: (here / "inside").mkdir() or "made")
        assert answer == "made"
        assert (
            as_user(lambda: (here / "cgroup.max.depth").write_text("1") or "written") != "written"  # type: ignore[return-value]
        )


def delegated_manager(name: str, here: str) -> UnifiedManager:
    """Of a user in the cgroup `here`."""
    machine = v2_layout()
    machine._own = {"": here}
    return UnifiedManager(Cgroup(name=name, rootless=True), machine, None)


def test_a_user_makes_a_cgroup_where_one_was_delegated() -> None:
    """As in systemd's user session: in a leaf of a tree that is the user's own."""
    path = unused_path()
    with removed(v2_manager(path, owner_uid=USER)) as delegated:
        delegated.create()
        leaf = v2_manager(f"{path}/leaf", owner_uid=USER)
        leaf.create()

        def work() -> str:
            manager = delegated_manager("box", f"{path}/leaf")
            manager.create()
            found = manager.paths()[""]
            manager.add(os.getpid())
            manager.freezer_state()
            return f"{found} {cgroups_of('self')['']} {manager.pids() == [os.getpid()]}"

        def enter_and_work() -> str:
            leaf.add(os.getpid())
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            return work()

        assert in_child(enter_and_work) == f"{v2_root()}{path}/box {path}/box True"


def test_without_a_delegated_cgroup_nothing_is_missed() -> None:
    name = unused_path()[1:]

    def work() -> str:
        manager = UnifiedManager(Cgroup(name=name, rootless=True), v2_layout(), None)
        manager.create()
        manager.set(Resources())
        answer = (manager.paths(), manager.fd(), manager.pids(), manager.exists())
        manager.destroy()
        return repr((*answer, manager.freezer_state()))

    assert as_user(work) == "({'': ''}, None, [], False, 'undefined')"


@pytest.mark.parametrize(
    "cgroup",
    [
        Cgroup(path="/nsx-test-denied", rootless=True),
        Cgroup(name="nsx-test-denied"),
        Cgroup(name="nsx-test-denied", rootless=True, resources=Resources(pids_limit=5)),
    ],
    ids=["a path was asked for", "not rootless", "a limit was asked for"],
)
def test_a_cgroup_that_has_to_be_is_not_passed_over(cgroup: Cgroup) -> None:
    def work() -> str:
        UnifiedManager(cgroup, v2_layout(), None).create()
        return "made"

    answer = as_user(work)
    # A relative path is beside our cgroup, which need not be at the top.
    assert answer.startswith(f"Failure: mkdir {v2_root()}/")
    assert "/nsx-test-denied: Permission denied" in answer
    assert ("there are no limits" in answer) == bool(cgroup.resources.pids_limit)


def test_a_user_who_may_not_move_leaves_no_cgroup_behind() -> None:
    """A tree of the user's, with the caller outside of it."""
    path = unused_path()
    with removed(v2_manager(path, owner_uid=USER)) as delegated:
        delegated.create()
        cgroup = Cgroup(path=f"{path}/box", rootless=True)

        def work() -> str:
            UnifiedManager(cgroup, v2_layout(), None).create()
            return "made"

        assert as_user(work).startswith(f"Failure: enter {v2_root()}{path}/box: Permission denied")
        assert not Path(delegated.paths()[""], "box").exists()


# ---- being told


def test_not_enough_memory_is_told() -> None:
    eat = "x = bytearray(64 << 20); x[::4096] = b'x' * len(x[::4096])"
    with removed(v2_manager()) as manager:
        manager.create()
        if "memory" not in controllers():
            with pytest.raises(Failure, match=r"watch .*/memory\.events: No such file"):
                manager.watch_oom()
            return
        manager.set(NOTHING.replace(memory=16 * MIB, memory_swap=16 * MIB))
        procs = Path(manager.paths()[""], "cgroup.procs")
        with sleeper() as other, manager.watch_oom() as watch:
            manager.add(other.pid)
            assert not watch.wait(0)
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", f"open('{procs}', 'w').write('0'); {eat}"]
            )
            deadline = time.monotonic() + SECONDS
            while not watch.wait(1):
                assert time.monotonic() < deadline
            assert child.wait(SECONDS) == -signal.SIGKILL
            manager.kill(signal.SIGKILL)
            while not watch.gone:
                assert not watch.wait(1)
                assert time.monotonic() < deadline


def _used(stats: dict[str, Any]) -> bool:
    """Whether it has had a processor."""
    usage = stats["cpu"]["usage"]
    return bool(usage.get("total", 0) > 0 and usage["user"] + usage["kernel"] > 0)


def test_what_it_uses_is_told() -> None:
    with removed(v2_manager()) as manager:
        manager.create()
        if "pids" in controllers():
            manager.set(NOTHING.replace(pids_limit=9, memory=64 * MIB))
        with inside(manager, "while :; do :; done"):
            wait_until(lambda: _used(manager.stats()))
            stats = manager.stats()
    assert _used(stats)
    if "pids" in controllers():
        assert stats["pids"] == {"current": 1, "limit": 9}
        assert stats["memory"]["usage"]["limit"] == 64 * MIB
        assert "anon" in stats["memory"]["raw"]
    else:
        assert stats["pids"] == {}
