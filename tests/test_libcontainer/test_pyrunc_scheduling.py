# SPDX-License-Identifier: Apache-2.0
"""The CPUs and the scheduling of a container's processes are those of its config, as in runc."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from libcontainer.init.process.affinity import numbers
from pyrunc import Runtime, make_bundle

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="scheduling and cpusets are root's")

LOOK = ("grep", "Cpus_allowed_list:", "/proc/self/status")
ALL = set(range(os.cpu_count() or 1))
FIRST = {0}

needs_two_cpus = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="requires two CPUs")

Change = Callable[[dict[str, Any]], None]


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    yield from pyrunc.runtimes(tmp_path)


@pytest.fixture
def few_cpus() -> Iterator[None]:
    """The caller runs on the first CPU alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, FIRST)
    yield
    os.sched_setaffinity(0, before)


def of(**cpu: str | int) -> Change:
    """A container with a cgroup of its own, and these limits of it."""

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["cgroupsPath"] = f"/nsx-sched-{secrets.token_hex(4)}"
        if cpu:
            spec["linux"]["resources"] = {"cpu": cpu}

    return change


def allowed(line: str) -> set[int]:
    return numbers(line.split(":")[1].strip())


CPUSETS = {
    "none": ({}, ALL),
    "all": ({"cpus": "0-1", "mems": "0"}, {0, 1}),
    "another than the caller's": ({"cpus": "1", "mems": "0"}, {1}),
}


@needs_two_cpus
@pytest.mark.parametrize("name", CPUSETS)
def test_a_process_runs_on_the_cpus_of_its_cgroup_not_of_its_caller(
    runtime: Runtime, tmp_path: Path, few_cpus: None, name: str
) -> None:
    cpu, expected = CPUSETS[name]
    bundle = make_bundle(tmp_path / "bundle", change=of(**cpu))
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    pid = runtime.state("box")["pid"]
    assert os.sched_getaffinity(pid) == expected
    assert allowed(runtime.good("exec", "box", *LOOK)) == expected


def in_box(runtime: Runtime, folder: Path, **fields: Any) -> tuple[str, ...]:
    """The words that execute LOOK by a process document of these fields."""
    process = {"args": LOOK, "env": ["PATH=/bin"], "cwd": "/", **fields}
    (folder / "process.json").write_text(json.dumps(process))
    return ("exec", "--process", str(folder / "process.json"), "box")


@needs_two_cpus
@pytest.mark.parametrize(
    ("affinity", "at_first", "at_last"),
    [
        ({"initial": "1"}, {1}, ALL),
        ({"initial": "1", "final": "0"}, {1}, {0}),
        ({"initial": "0-1", "final": "1"}, {0, 1}, {1}),
        ({"initial": "0, 1"}, {0, 1}, ALL),
        ({"final": "1"}, FIRST, {1}),
    ],
)
def test_an_executed_process_has_cpus_of_its_own(
    runtime: Runtime,
    tmp_path: Path,
    few_cpus: None,
    affinity: dict[str, str],
    at_first: set[int],
    at_last: set[int],
) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=of())
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    done = runtime("--debug", *in_box(runtime, tmp_path, execCPUAffinity=affinity))
    mask = sum(1 << cpu for cpu in at_first)
    assert f'msg="nsexec: affinity: {mask:#x}"' in done.stderr
    assert allowed(done.stdout) == at_last


@needs_two_cpus
def test_the_cpus_of_config_json_are_for_those_that_are_executed(
    runtime: Runtime, tmp_path: Path
) -> None:
    def change(spec: dict[str, Any]) -> None:
        of()(spec)
        spec["process"]["execCPUAffinity"] = {"initial": "0", "final": "1"}

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    assert os.sched_getaffinity(runtime.state("box")["pid"]) == ALL
    assert allowed(runtime.good("exec", "box", *LOOK)) == {1}


@pytest.mark.parametrize("field", ["initial", "final"])
def test_cpus_that_are_not_there_are_named(runtime: Runtime, tmp_path: Path, field: str) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=of())
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    done = runtime(*in_box(runtime, tmp_path, execCPUAffinity={field: "4000"}))
    assert done.returncode == 255
    told = f"sched_setaffinity 4000 (process.execCPUAffinity.{field}): invalid argument"
    assert told in done.stderr
    assert len(runtime.good("ps", "box").splitlines()) == 2


def test_the_callers_own_cpus_are_as_before(tmp_path: Path) -> None:
    """In Python, where the process that starts it goes on."""
    from libcontainer.configs import ProcessConfig
    from libcontainer.process import Process
    from libcontainer.process_start import _InitialAffinity

    before = os.sched_getaffinity(0)
    process = Process(ProcessConfig(args=("x",), exec_cpu_affinity={"initial": "0"}), init=False)
    with _InitialAffinity(process):
        assert os.sched_getaffinity(0) == {0}
    assert os.sched_getaffinity(0) == before


SCHEDULERS = {
    "SCHED_BATCH": {"policy": "SCHED_BATCH", "nice": 19},
    "SCHED_IDLE": {"policy": "SCHED_IDLE"},
    "SCHED_RR": {"policy": "SCHED_RR", "priority": 1},
    "SCHED_DEADLINE": {
        "policy": "SCHED_DEADLINE", "runtime": 42_000, "deadline": 100_000, "period": 1_000_000,
        "flags": ["SCHED_FLAG_RESET_ON_FORK"],
    },
}  # fmt: skip
# A new cgroup of version 1 has no time for real-time processes, if the kernel shares that out.
TIME = {"realtimeRuntime": 10_000} if list(Path("/sys/fs/cgroup").glob("cpu*/cpu.rt_r*")) else {}
POLICIES = {"SCHED_BATCH": 3, "SCHED_IDLE": 5, "SCHED_RR": 2, "SCHED_DEADLINE": 6}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_is_that_of_the_process(
    runtime: Runtime, tmp_path: Path, few_cpus: None, name: str
) -> None:
    """SCHED_DEADLINE requires all CPUs, whatever the caller has."""

    def change(spec: dict[str, Any]) -> None:
        of(**(TIME if name == "SCHED_RR" else {}))(spec)
        spec["process"]["scheduler"] = SCHEDULERS[name]

    bundle = make_bundle(tmp_path / "bundle", change=change)
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    flag = os.SCHED_RESET_ON_FORK
    assert os.sched_getscheduler(runtime.state("box")["pid"]) & ~flag == POLICIES[name]


@pytest.mark.parametrize("name", ["SCHED_BATCH", "SCHED_IDLE", "SCHED_DEADLINE"])
def test_an_executed_process_has_a_scheduler_of_its_own(
    runtime: Runtime, tmp_path: Path, few_cpus: None, name: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", change=of())
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    command, *words = in_box(runtime, tmp_path, scheduler=SCHEDULERS[name])
    process = json.loads((tmp_path / "process.json").read_text())
    (tmp_path / "process.json").write_text(json.dumps(process | {"args": ["sleep", "1000"]}))
    pid_file = tmp_path / "pid"
    runtime.good(command, "-d", "--pid-file", pid_file, *words, **pyrunc.NO_STREAMS)
    policy = os.sched_getscheduler(int(pid_file.read_text()))
    assert policy & ~os.SCHED_RESET_ON_FORK == POLICIES[name]


@needs_two_cpus
def test_a_deadline_with_few_cpus_is_refused_in_runcs_words(
    runtime: Runtime, tmp_path: Path
) -> None:
    def change(spec: dict[str, Any]) -> None:
        of(cpus="0", mems="0")(spec)
        spec["process"]["scheduler"] = SCHEDULERS["SCHED_DEADLINE"]

    done = runtime("run", "-b", make_bundle(tmp_path / "bundle", change=change), "box")
    assert done.returncode == 1
    assert "process scheduler can't be used together with AllowedCPUs" in done.stderr


def test_a_policy_that_the_kernel_has_not_is_named(runtime: Runtime, tmp_path: Path) -> None:
    def change(spec: dict[str, Any]) -> None:
        of()(spec)
        spec["process"]["scheduler"] = {"policy": "SCHED_ISO"}

    done = runtime("run", "-b", make_bundle(tmp_path / "bundle", change=change), "box")
    assert done.returncode == 1
    assert "sched_setattr policy 4: invalid argument (process.scheduler)" in done.stderr


BAD = {
    "scheduler": ({"policy": "SCHED_FIFO"}, "process.scheduler.priority: 0 is not in 1..99"),
    "ioPriority": ({"class": "IOPRIO_CLASS_BE", "priority": 8}, "process.ioPriority.priority: 8"),
}


@pytest.mark.parametrize("field", BAD)
def test_an_executed_process_is_checked_as_the_first_one(
    runtime: Runtime, tmp_path: Path, field: str
) -> None:
    value, told = BAD[field]
    bundle = make_bundle(tmp_path / "bundle", change=of())
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    done = runtime(*in_box(runtime, tmp_path, **{field: value}))
    assert done.returncode == 255
    assert told in done.stderr


def test_a_list_of_cpus() -> None:
    assert numbers("0-2,4") == {0, 1, 2, 4}
    assert numbers("") == set()


def test_a_cgroup_without_time_for_real_time_processes_is_named(
    runtime: Runtime, tmp_path: Path
) -> None:
    def change(spec: dict[str, Any]) -> None:
        of()(spec)
        spec["process"]["scheduler"] = SCHEDULERS["SCHED_RR"]

    done = runtime("run", "-b", make_bundle(tmp_path / "bundle", change=change), "box")
    assert done.returncode == int(bool(TIME))
    assert ("set linux.resources.cpu.realtimeRuntime" in done.stderr) is bool(TIME)


@pytest.mark.parametrize("flag", ["UTIL_CLAMP_MIN", "UTIL_CLAMP_MAX"])
def test_a_clamp_is_asked_for_as_the_kernel_reads_it(
    runtime: Runtime, tmp_path: Path, flag: str
) -> None:
    """A kernel without clamps (CONFIG_UCLAMP_TASK) says that it has none."""

    def change(spec: dict[str, Any]) -> None:
        spec["process"]["scheduler"] = {"policy": "SCHED_OTHER", "flags": [f"SCHED_FLAG_{flag}"]}

    done = runtime("run", "-b", make_bundle(tmp_path / "bundle", ("true",), change=change), "box")
    assert done.returncode == 0 or "sched_setattr policy 0: operation not supported" in done.stderr
