"""Whatever dies, hangs or runs out during a start, there is a named error at once.

Nothing is left: no process, no zombie, no descriptor and no namespace.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import json
import os
import resource
import secrets
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import faults
from direct_cases import enters_time_by_exec
from faults import (
    AT_ONCE,
    NEVER,
    PYTHON_TRUE,
    STAGES,
    SYS_CLONE3,
    SYS_EXECVE,
    SYS_EXECVEAT,
    SYS_EXIT_GROUP,
    TOOLS,
    TRUE,
    Blow,
    Life,
    Strike,
    direct,
    flags,
    mapped,
    nothing_left,
    one_clone,
    outcome_of,
    report,
    three_stages,
)
from interop.runc_parent import RuncParent, StageExits, StubError
from nsenter._launch.spawn import Spawn
from nsenter.bootstrap import BootstrapData, TimeOffset
from nsenter.idmap import IDMap
from nsenter.launch import Program, PythonInit, launch, nsinit_path
from sweeps import some

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="faults are injected here as root")

# path → what makes its message, and its stages
PATHS: dict[str, tuple[Callable[[], BootstrapData], tuple[str, ...]]] = {
    "direct": (direct, STAGES[1]),
    "mapped": (mapped, STAGES[1]),
    "one-clone": (one_clone, STAGES[2]),
    "three-stages": (three_stages, STAGES[3]),
}
DIRECT = ("direct", *(["mapped"] if enters_time_by_exec() else []))
STAGED = ("one-clone", "three-stages")
EACH_STAGE = [(path, which) for path in STAGED for which in range(len(PATHS[path][1]))]
TARGETS: dict[str, Program | PythonInit] = {"program": TRUE, "python": PYTHON_TRUE}
# A PythonInit goes no direct way: its message is one of one clone then.
EACH_TARGET = [
    (path, target)
    for path in PATHS
    for target in TARGETS
    if path not in ("direct", "mapped") or target == "program"
]
EVERY_STAGE = [(each, target) for each in EACH_STAGE for target in TARGETS]


def _of_many(path: str, which: int, target: str) -> list[pytest.MarkDecorator]:
    """The quick run kills an interpreter's stages where there are most of them."""
    return [pytest.mark.sweep] if target == "python" and path != "three-stages" else []


def _name(value: object) -> str | None:
    return value if isinstance(value, str) else None


@pytest.fixture(scope="module", autouse=True)
def what_is_made_once() -> None:
    """nsinit's memfd and the module archive, which stay; the tracer."""
    faults.killer()
    for target in TARGETS.values():
        launch(one_clone(), target).__exit__()


# --- a stage is killed ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "which", "target"),
    [
        *some(((path, 0, "program") for path in DIRECT), "direct"),
        *(
            pytest.param(*each, target, marks=_of_many(*each, target))
            for each, target in EVERY_STAGE
        ),
    ],
    ids=_name,
)
def test_stage_killed_at_any_step_is_named_and_nothing_is_left(
    path: str, which: int, target: str
) -> None:
    make, stages = PATHS[path]
    # Of an interpreter, from the clone on; before that it is one that boots.
    first_call = SYS_CLONE3 if target == "python" and which == 0 else -1
    faults.counted(
        functools.partial(
            faults.kill_at_every_step, make, TARGETS[target], which, stages, first_call
        )
    )


@pytest.mark.parametrize("times", [50, pytest.param(200, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("path", PATHS)
def test_stage_killed_at_random_is_named_and_nothing_is_left(path: str, times: int) -> None:
    faults.counted(functools.partial(faults.kill_at_random, PATHS[path][0], times, seed=1))


@pytest.mark.parametrize(("path", "which"), EACH_STAGE, ids=_name)
def test_stage_that_is_stopped_is_a_named_timeout_and_nothing_is_left(
    path: str, which: int
) -> None:
    """Not the direct way: no time is kept there, all of it is before the execve."""
    make, _ = PATHS[path]
    # A process that is stopped before its execve stops its launcher too: that is vfork(2).
    first_call = SYS_EXECVEAT if which == 0 else -1
    problems: list[str] = []
    steps = faults.step_count(make, which, first_call)
    for nth in faults.spread(steps, 4):
        blow = Blow(which, max(nth, 2), signal.SIGSTOP, first_call)
        for timeout in (0.2, 2.0, 20.0):  # the first within which this machine gets to the step
            with nothing_left(problems, blow) as life, Strike(blow) as strike:
                outcome = outcome_of(make(), TRUE, life, timeout=timeout)
            if strike.hit is not None:
                break
        error = outcome.error
        if strike.hit is None or not error or error.errno != errno.ETIMEDOUT:
            problems.append(f"{blow}, hit at {strike.hit}: {outcome}")
        elif outcome.seconds > timeout + AT_ONCE:
            problems.append(f"{blow}: late: {outcome}")
    assert not problems, report(problems)


# --- a stage of a parent that speaks runc's protocol ---------------------------------------------


def _converse(parent: RuncParent, blob: bytes) -> tuple[StageExits, int]:
    parent.await_hello()
    parent.send(blob)
    parent.await_reply()
    return parent.await_stages(), parent.await_stage2()


def _all_gone(parent: RuncParent) -> bool:
    """Whether all stages end by themselves; a stage has the log pipe up to its end."""
    return faults.hung_up(parent._log_read, AT_ONCE)


@contextlib.contextmanager
def _stub(problems: list[str], what: object) -> Iterator[RuncParent]:
    """A stub whose stages are all to be gone at the end of the block, without being killed."""
    with nothing_left(problems, what):
        with RuncParent([nsinit_path(), "/bin/true"], newer=True) as parent:
            yield parent
            if not _all_gone(parent):
                problems.append(f"{what}: lives on: {faults.living_children()}")
        faults.kill_children()


def _kill_under_runcs_protocol(nth: int, which: int, problems: list[str]) -> bool:
    stage = STAGES[3][which]
    what = f"{stage} killed at step {nth}"
    blow = Blow(which, nth, first_call=SYS_EXECVE if which == 0 else -1)
    exits: StageExits | None = None
    stage2 = 0
    with nothing_left(problems, what), contextlib.ExitStack() as stack:
        strike = stack.enter_context(Strike(blow))
        parent = stack.enter_context(RuncParent([nsinit_path(), "/bin/true"], newer=True))
        started = time.monotonic()
        with contextlib.suppress(StubError):
            exits, stage2 = _converse(parent, three_stages().encode())
        seconds = time.monotonic() - started
        if not _all_gone(parent):
            problems.append(f"{what}: lives on: {faults.living_children()}")
        lines = [line["msg"] for line in parent.log_lines]
        stage0 = parent.await_exit(parent.stage0_pid)
        parent.close()
        stack.close()
        faults.kill_children()
        if strike.hit is None:
            if (exits, stage2) != (StageExits(0, 0), 0):
                problems.append(f"{stage} not killed, and yet {exits}, {stage2}, {lines}")
            return False
        if seconds > AT_ONCE:
            problems.append(f"{what}: late: {seconds:.3f} s")
        ended = (stage0, exits.stage1 if exits else 0, stage2)[which]
        if ended != -signal.SIGKILL and not any(f"({stage}) ended early" in m for m in lines):
            problems.append(f"{what}: nobody names it: exit {ended}, log {lines}")
    return True


@pytest.mark.parametrize("which", range(3), ids=STAGES[3])
def test_stage_killed_under_runcs_protocol_is_in_the_log_and_nothing_is_left(which: int) -> None:
    problems: list[str] = []
    steps = itertools.takewhile(
        lambda nth: _kill_under_runcs_protocol(nth, which, problems), itertools.count(1)
    )
    assert len(list(steps)) > 5
    assert not problems, report(problems)


# --- a pipe is closed ----------------------------------------------------------------------------


def _await_end(parent: RuncParent) -> int:
    assert _all_gone(parent), f"lives on: {faults.living_children()}"
    return parent.await_exit(parent.stage0_pid)


@pytest.mark.parametrize("part", [0, 10, 16, 40], ids=["none", "header", "no-body", "some"])
def test_init_pipe_closed_before_the_message_is_whole_ends_the_stub(part: int) -> None:
    problems: list[str] = []
    with _stub(problems, part) as parent:
        parent.await_hello()
        if part:
            parent.write(three_stages().encode()[:part])
        parent._pipe.close()
        assert _await_end(parent) == 1
        (line,) = parent.log_lines
    assert line["level"] == "fatal"
    assert f"the init pipe at offset {part}" in line["msg"]
    assert not problems, report(problems)


def test_init_pipe_closed_before_the_reply_ends_every_stage() -> None:
    problems: list[str] = []
    for _ in range(20):
        with _stub(problems, "closed before the reply") as parent:
            parent.await_hello()
            parent.write(three_stages().encode())
            parent._pipe.close()
            status = _await_end(parent)
            # The reply may have been sent before: then it is the payload that ended.
            if status:
                assert any("pids to the init pipe" in line["msg"] for line in parent.log_lines)
    assert not problems, report(problems)


def test_log_pipe_that_nobody_reads_changes_nothing() -> None:
    problems: list[str] = []
    with nothing_left(problems), RuncParent([nsinit_path(), "/bin/true"], newer=True) as parent:
        os.close(parent._log_read)
        parent._log_read = -1
        assert _converse(parent, three_stages().encode()) == (StageExits(0, 0), 0)
        faults.kill_children()
    assert not problems, report(problems)


def test_log_pipe_closed_does_not_stop_a_stage_from_failing_with_status_1() -> None:
    problems: list[str] = []
    with nothing_left(problems), RuncParent([nsinit_path(), "/bin/true"], newer=True) as parent:
        os.close(parent._log_read)
        parent._log_read = -1
        parent.await_hello()
        parent.write(b"\0" * 16)
        assert parent.await_exit(parent.stage0_pid) == 1
    assert not problems, report(problems)


@pytest.mark.parametrize("path", PATHS)
def test_launcher_killed_at_any_step_leaves_no_stage(path: str) -> None:
    problems: list[str] = []
    make, _ = PATHS[path]
    with faults.adopting_orphans():
        steps = itertools.takewhile(
            lambda nth: faults.kill_launcher_at(make, nth, problems), itertools.count(1)
        )
        assert len(list(steps)) > 3
    assert not problems, report(problems)


def test_launcher_killed_before_any_step_of_a_direct_child_leaves_no_payload() -> None:
    problems: list[str] = []
    with faults.adopting_orphans():
        steps = itertools.takewhile(
            lambda nth: faults.kill_launcher_at_childs(direct, nth, problems), itertools.count(1)
        )
        assert len(list(steps)) > 5
    assert not problems, report(problems)


# --- mapping tools -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes() -> Mapping[str, dict[str, Any]]:
    return faults.tool_outcomes()


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS])
def test_no_mapping_tool_leaves_anything_or_takes_longer_than_it_may(
    outcomes: Mapping[str, dict[str, Any]], name: str
) -> None:
    outcome = outcomes[name]
    assert not outcome["problems"]
    hangs = outcome["timeout"] < AT_ONCE
    assert outcome["seconds"] < AT_ONCE + (outcome["timeout"] if hangs else 0)


@pytest.mark.parametrize("name", ["works", "works-on-path", "shouts-and-works"])
def test_mapping_tool_that_works_is_used(outcomes: Mapping[str, dict[str, Any]], name: str) -> None:
    assert outcomes[name].get("returncode") == 0, outcomes[name]
    assert outcomes[name]["ran"] == (name == "works-on-path")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("fails", "exit status 1: the range is not yours"),
        ("fails-on-path", "exit status 1: the fake one"),
        ("killed", "killed by signal 9"),
        ("terminated", "killed by signal 15: half way"),
        ("kills-after-mapping", "killed by signal 9"),
        ("closes-everything", "exit status 3"),
        ("shouts", "exit status 1: first words"),
    ],
)
def test_mapping_tool_that_fails_is_named_with_its_status_and_words(
    outcomes: Mapping[str, dict[str, Any]], name: str, words: str
) -> None:
    said = outcomes[name]
    assert said.get("stage") == "parent", said
    assert f"run {said['path']}: {words}" in said["error"]


@pytest.mark.parametrize("name", ["maps-nothing", "maps-nothing-rootless"])
def test_mapping_tool_that_maps_nothing_has_failed_whatever_it_says(
    outcomes: Mapping[str, dict[str, Any]], name: str
) -> None:
    said = outcomes[name]
    assert said.get("stage") == "parent", said
    assert said["path"] in said["error"]


@pytest.mark.parametrize(
    ("name", "number"), [("missing", errno.ENOENT), ("not-executable", errno.EACCES)]
)
def test_mapping_tool_that_cannot_be_executed_says_why(
    outcomes: Mapping[str, dict[str, Any]], name: str, number: int
) -> None:
    said = outcomes[name]
    assert said.get("stage") == "parent", said
    assert said["path"] in said["error"]
    assert said["errno"] == number


@pytest.mark.parametrize("name", [tool.name for tool in TOOLS if "hangs" in tool.name])
def test_mapping_tool_that_hangs_is_a_named_timeout(
    outcomes: Mapping[str, dict[str, Any]], name: str
) -> None:
    said = outcomes[name]
    assert said.get("errno") == errno.ETIMEDOUT, said
    assert f"wait for {said['path']}" in said["error"]


@pytest.mark.parametrize(
    "name",
    [
        "launcher_killed_while_tool_hangs",
        "stage0_killed_while_tool_hangs",
        "stub_killed_while_tool_hangs",
    ],
)
def test_mapping_tool_does_not_outlive_who_waits_for_it(
    outcomes: Mapping[str, dict[str, Any]], name: str
) -> None:
    assert not outcomes[name]["problems"]


# --- something runs out --------------------------------------------------------------------------


@contextlib.contextmanager
def _few_descriptors(spare: int) -> Iterator[None]:
    """As many as are open, and so many more."""
    used = set(faults.descriptors())
    free = (fd for fd in itertools.count() if fd not in used)
    limit = next(itertools.islice(free, spare, None))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(("path", "target"), EACH_TARGET)
def test_launcher_out_of_descriptors_says_so_and_leaks_none(path: str, target: str) -> None:
    problems: list[str] = []
    data = PATHS[path][0]()
    for spare in range(20):
        error: OSError | None = None
        with nothing_left(problems, f"{spare} descriptors") as life, _few_descriptors(spare):
            try:
                launch(data, TARGETS[target], stdin=life.fd).__exit__()
                break
            except OSError as caught:
                error = caught
        if error.errno != errno.EMFILE:
            problems.append(f"{spare} descriptors: {error}")
    else:
        problems.append("20 descriptors are not enough")
    assert spare > (0 if path in DIRECT else 2)
    assert not problems, report(problems)


def _as_a_user_of_its_own(limit: int, path: str) -> str:
    """In a fork: what a launch says under a limit of processes, as a user who has no others."""
    # Nor any of an earlier run, which count until they are reaped.
    uid = 1_000_000 + secrets.randbelow(1 << 30)
    own = (IDMap(0, uid, 1),)
    plain = BootstrapData(
        clone_flags=flags("user") if path == "direct" else flags("user", "time"),
        uid_mappings=own,
        gid_mappings=own,
        rootless_euid=True,
        oom_score_adj=None if path == "direct" else 0,
        time_offsets=(TimeOffset("monotonic", 1),) if path == "three-stages" else (),
    )
    reader, writer = os.pipe()
    pid = faults.fork()
    if pid == 0:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        faults.set_dumpable()  # as whoever is this user from the start
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
        problems: list[str] = []
        with nothing_left(problems) as life:
            outcome = outcome_of(plain, TRUE, life)
        error = outcome.error
        said = {"stage": error.stage, "errno": error.errno, "is": str(error)} if error else {}
        os.write(writer, json.dumps([problems, outcome.returncode, said]).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said_there:
        text = said_there.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.parametrize(
    ("path", "limit", "stage"),
    [
        ("direct", 1, "launcher"),
        ("direct", 2, None),
        ("one-clone", 1, "launcher"),
        ("one-clone", 2, "parent"),
        ("one-clone", 3, None),
        ("three-stages", 1, "launcher"),
        ("three-stages", 2, "parent"),
        ("three-stages", 3, "child"),
        ("three-stages", 4, None),
    ],
)
def test_no_more_processes_is_named_by_the_stage_that_needed_one(
    path: str, limit: int, stage: str | None
) -> None:
    problems, returncode, said = json.loads(_as_a_user_of_its_own(limit, path))
    assert not problems, report(problems)
    if stage is None:
        assert returncode == 0, said
    else:
        assert (said["stage"], said["errno"]) == (stage, errno.EAGAIN), said


@pytest.mark.parametrize("path", PATHS)
def test_no_more_user_namespaces_is_named_with_a_hint(path: str) -> None:
    def job() -> None:
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        problems: list[str] = []
        with nothing_left(problems) as life:
            error = outcome_of(PATHS[path][0](), TRUE, life).error
        assert error, "it could be made"
        assert error.errno == errno.ENOSPC, str(error)
        operations = {"one-clone": "clone3", "three-stages": "unshare"}
        assert error.operation == operations.get(path, "clone")
        assert error.hint == (
            "sysctl user.max_user_namespaces is 0: sysctl -w user.max_user_namespaces=10000"
        )
        assert not problems, report(problems)

    faults.in_a_machine_of_our_own(job)


# --- nothing is left in the long run -------------------------------------------------------------


def _launch_often(
    times: int, make: Callable[[], BootstrapData], *, python: bool = True
) -> list[str]:
    problems: list[str] = []

    def round_of(count: int, target: Program | PythonInit) -> None:
        for _ in range(count):
            with launch(make(), target) as child:
                if status := child.wait(NEVER):
                    problems.append(f"returned {status}")

    round_of(40, TRUE)
    round_of(10, PYTHON_TRUE)
    opened, resident = faults.descriptors(), faults.resident_kib()
    pythons = times // 5 if python else 0
    round_of(times - pythons, TRUE)
    round_of(pythons, PYTHON_TRUE)
    if (now := faults.descriptors()) != opened:
        problems.append(f"descriptors: {opened} before, {now} after")
    if left := faults.first_child():
        problems.append(f"left behind: {left}")
    # 500 bytes a launch would be a leak; an allocator's arenas are not.
    if (grown := faults.resident_kib() - resident) > times // 2:
        problems.append(f"grown by {grown} KiB in {times} launches")
    return problems


def test_500_launches_leave_no_descriptor_zombie_memory_or_namespace() -> None:
    faults.counted(lambda: _launch_often(300, one_clone) + _launch_often(200, three_stages))


@pytest.mark.sweep
def test_500_direct_launches_leave_no_descriptor_zombie_memory_or_namespace() -> None:
    faults.counted(lambda: _launch_often(500, direct, python=False))


@pytest.mark.parametrize(
    "path",
    [
        *(pytest.param(path, marks=[pytest.mark.sweep][: path == "mapped"]) for path in DIRECT),
        pytest.param("one-clone", marks=pytest.mark.sweep),
    ],
)
def test_500_failures_leave_no_descriptor_zombie_memory_or_namespace(path: str) -> None:
    def fail_often() -> list[str]:
        make = PATHS[path][0]
        problems: list[str] = []
        resident = []
        for nth in range(550):
            if nth in (50, 300):
                resident.append(faults.resident_kib())
            with nothing_left(problems, nth) as life:
                error = outcome_of(make(), Program(["/nowhere/at/all"]), life).error
            if not error or error.operation != "execve":
                problems.append(f"{error}")
        first, second = resident[1] - resident[0], faults.resident_kib() - resident[1]
        # A table of the interpreter's own may double once; what leaks grows in both halves.
        if min(first, second) > 125:
            problems.append(f"grown by {first} and {second} KiB")
        return problems

    faults.counted(fail_often)


# --- the helpers can tell ------------------------------------------------------------------------


def test_the_census_sees_a_namespace_that_is_left() -> None:
    def job() -> None:
        launch(one_clone(), TRUE).__exit__()
        with launch(one_clone(), faults.SLEEP):
            assert faults.Census(settle=0.1).left().keys() == set(faults.KINDS)
        assert not faults.Census().left()

    faults.in_a_machine_of_our_own(job)


def test_an_orphan_a_zombie_and_a_descriptor_are_seen() -> None:
    problems: list[str] = []
    with nothing_left(problems, "what is left", seconds=0.1) as life:
        child = launch(BootstrapData(), faults.SLEEP, stdin=life.fd)
    kinds = ("a process lives on", "left behind", "descriptors left open")
    assert [kind for kind in kinds if any(kind in problem for problem in problems)] == list(kinds)
    assert child.pid > 0


@pytest.mark.parametrize("path", PATHS)
def test_each_path_has_the_stages_that_are_struck_on_it(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[bool] = []
    run_direct = Spawn.run_direct

    def watched(*args: Any) -> tuple[int, int] | None:
        found = run_direct(*args)
        started.append(found is not None)
        return found

    monkeypatch.setattr(Spawn, "run_direct", watched)
    make, stages = PATHS[path]
    launch(make(), TRUE).__exit__()
    assert started == [path in DIRECT]
    if path not in DIRECT:
        with launch(make(), TRUE, trace=True) as child:
            assert {point.stage for point in child.trace} == {"launcher", *stages}


def test_the_strike_hits_the_very_step() -> None:
    make = one_clone
    with Life() as life, Strike(Blow(0, 1, first_call=SYS_EXIT_GROUP)) as strike:
        outcome = outcome_of(make(), TRUE, life)
    assert strike.hit == SYS_EXIT_GROUP
    assert outcome.error is None
