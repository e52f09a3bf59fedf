# SPDX-License-Identifier: Apache-2.0
"""The guest has what its tests require, and a process there starts in cgroups with controllers.

These are cgroup v2 alone, every controller, and the right to lower a score for the OOM killer,
which other machines may lack.
"""

from __future__ import annotations

import json
import os
import sys
from errno import EACCES, EAGAIN
from pathlib import Path

import pytest
import session
from session import CGROUPS, DELEGATED, UID, cgroup, opened

from launching import SECONDS, message, reporting
from nsenter.errors import BootstrapError
from nsenter.launch import Program, launch

# Newer kernels have more.
CONTROLLERS = set("cpu cpuset hugetlb io memory misc pids rdma".split())
TARGETS = ("program", "python")
LOWEST_SCORE = -1000

# --- the guest -----------------------------------------------------------------------------------


def test_cgroup_v2_is_all_there_is() -> None:
    mounted = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    kinds = {fields[fields.index("-") + 1] for fields in mounted}
    assert "cgroup2" in kinds
    assert "cgroup" not in kinds


@pytest.mark.parametrize("folder", [CGROUPS, DELEGATED])
def test_every_controller_is_passed_on(folder: Path) -> None:
    assert set((folder / "cgroup.subtree_control").read_text().split()) >= CONTROLLERS


def test_root_has_every_capability() -> None:
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    status = Path("/proc/self/status").read_text()
    assert f"CapEff:\t{(1 << last + 1) - 1:016x}" in status


def test_the_user_has_no_right_but_its_cgroup() -> None:
    done = session.as_the_user(["sh", "-c", f"id -u; cat /proc/self/cgroup; mkdir {CGROUPS}/no"])
    assert done.stdout.splitlines() == [str(UID), "0::/user/session"]
    assert "Permission denied" in done.stderr


# --- what nsenter starts there -------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kinds", [(), ("pid", "mnt"), ("user", "pid", "cgroup")], ids=str)
@pytest.mark.parametrize("score", [-500, LOWEST_SCORE])
def test_a_negative_oom_score_reaches_the_process(
    target: str, kinds: tuple[str, ...], score: int
) -> None:
    with reporting(message(kinds, oom_score_adj=score), target) as (child, _):
        assert Path(f"/proc/{child.pid}/oom_score_adj").read_text() == f"{score}\n"


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kinds", [(), ("pid", "mnt"), ("user", "pid", "net")], ids=str)
def test_a_process_starts_in_a_cgroup_and_under_its_limits(
    target: str, kinds: tuple[str, ...]
) -> None:
    with (
        cgroup("box", pids_max="7", memory_max="100M", cpuset_cpus="1") as box,
        opened(box) as fd,
        reporting(message(kinds), target, cgroup=fd) as (child, facts),
    ):
        assert facts["cgroup"] == "/box"
        assert (box / "cgroup.procs").read_text() == f"{child.pid}\n"
        assert os.sched_getaffinity(child.pid) == {1}
        assert int((box / "memory.current").read_text()) > 0


@pytest.mark.parametrize("target", TARGETS)
def test_a_new_cgroup_namespace_has_the_cgroup_for_its_root(target: str) -> None:
    with (
        cgroup("box") as box,
        opened(box) as fd,
        reporting(message(["cgroup", "mnt"]), target, cgroup=fd) as (child, facts),
    ):
        assert facts["cgroup"] == "/"
        assert (box / "cgroup.procs").read_text() == f"{child.pid}\n"


def test_nothing_starts_in_a_cgroup_that_is_full() -> None:
    with cgroup("box", pids_max="0") as box, opened(box) as fd:
        with pytest.raises(BootstrapError) as caught:
            launch(message(), Program(["true"]), cgroup=fd)
        assert (caught.value.operation, caught.value.errno) == ("clone3", EAGAIN)
        assert (box / "cgroup.procs").read_text() == ""


def test_the_limit_of_a_cgroup_ends_its_process() -> None:
    eat = [sys.executable, "-I", "-S", "-c", "bytearray(100 << 20)"]
    with (
        cgroup("box", memory_max="30M", memory_swap_max="0") as box,
        opened(box) as fd,
        launch(message(["pid"]), Program(eat), cgroup=fd) as child,
    ):
        assert child.wait(SECONDS) == -9
        assert "oom_kill 1\n" in (box / "memory.events").read_text()


_DELEGATED_LAUNCH = """
import json, os, sys
from launching import message, reporting
from nsenter.errors import BootstrapError

where, *kinds = sys.argv[1:]
try:
    os.mkdir(where)
except FileExistsError:
    pass
fd = os.open(where, os.O_RDONLY)
try:
    with reporting(message(kinds), "program", cgroup=fd) as (child, facts):
        print(json.dumps(facts["cgroup"]))
except BootstrapError as error:
    print(json.dumps([error.operation, error.errno]))
"""


@pytest.mark.parametrize("kinds", [(), ("user", "pid", "mnt")], ids=str)
def test_a_user_starts_processes_in_a_cgroup_that_is_delegated_to_it(kinds: tuple[str]) -> None:
    argv = [sys.executable, "-c", _DELEGATED_LAUNCH, f"{DELEGATED}/box", *kinds]
    done = session.as_the_user(argv)
    (DELEGATED / "box").rmdir()
    assert done.stderr == ""
    assert json.loads(done.stdout) == "/user/box"


def test_a_user_starts_nothing_in_a_cgroup_that_is_not_its_own() -> None:
    with cgroup("box") as box:
        done = session.as_the_user([sys.executable, "-c", _DELEGATED_LAUNCH, str(box)])
    assert done.stderr == ""
    assert json.loads(done.stdout) == ["clone3", EACCES]
