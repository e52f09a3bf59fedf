"""A Program that requires no stages is started without them, and the result does not show it.

There is a table of launches (see direct_cases.py). Each is done both ways, by root and by an
unprivileged user. The program must see the same, and an error must be the same. The caller, whose
memory the child has shared, must be unchanged.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import direct_cases
import faults
import inside
import launching
from direct_cases import FAILING_OF_A_USER, FAILING_OF_ROOT, OF_A_USER, OF_ROOT, Case, both_ways
from launching import message
from nsenter.bootstrap import BootstrapData
from nsenter.errors import BootstrapError
from nsenter.launch import Program, launch
from nsenter.namespaces import Namespace, NamespaceType

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

TRUE = Program(["/bin/true"])

# In what an error may differ, and why. All others are the same.
REFUSED = {"stage", "operation"}  # who makes the namespaces, and by which of two calls
EXPLAINED = {
    **{f"{kind}-without-user": REFUSED for kind in direct_cases.DIRECT_KINDS},
    # clone3(2) is said to be for the cgroup namespace too, which comes later.
    "all-without-user": {*REFUSED, "subject"},
    # Too much for any execve: for nsinit's own, which comes first.
    "too-many-words": {"stage", "subject"},
    # The streams are stage 0's already.
    "stream-is-not-open": {"stage"},
    # A stage's record is text: a byte that is none is replaced in it.
    "no-such-path-in-no-script": {"subject"},
}


def name_of(case: Case) -> str:
    return case.name


@pytest.fixture(scope="module")
def the_users() -> dict[str, Any]:
    return direct_cases.as_the_user()


@pytest.fixture(scope="module")
def of_a_user(the_users: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = the_users["outcomes"]
    return found


@pytest.fixture(scope="module")
def of_root() -> dict[str, Any]:
    found: dict[str, Any] = direct_cases.as_root()["outcomes"]
    return found


@pytest.fixture(autouse=True, scope="module")
def what_is_made_once() -> None:
    launch(message(), TRUE, trace=True).__exit__()


# --- the same result ------------------------------------------------------------------------------


def _started_alike(case: Case, found: Mapping[str, Any]) -> None:
    assert found["ways"] == case.ways()
    assert direct_cases.differences(found) == {}
    assert found["direct"]["returncode"] == 0, found["direct"]
    assert not found["left"]


def _failed_alike(case: Case, found: Mapping[str, Any]) -> None:
    if not case.name.endswith("-without-user"):  # whichever way that is refused
        assert found["ways"] == case.ways()
    assert "errno" in found["direct"], found["direct"]
    assert direct_cases.differences(found).keys() <= EXPLAINED.get(case.name, set())
    assert not found["left"]


@as_root
@pytest.mark.parametrize("case", OF_ROOT, ids=name_of)
def test_roots_program_cannot_tell_which_way_it_came(case: Case, of_root: dict[str, Any]) -> None:
    _started_alike(case, of_root[case.name])


@pytest.mark.parametrize("case", OF_A_USER, ids=name_of)
def test_a_users_program_cannot_tell_which_way_it_came(
    case: Case, of_a_user: dict[str, Any]
) -> None:
    _started_alike(case, of_a_user[case.name])


@as_root
@pytest.mark.parametrize("case", FAILING_OF_ROOT, ids=name_of)
def test_root_is_told_the_same_when_it_fails(case: Case, of_root: dict[str, Any]) -> None:
    _failed_alike(case, of_root[case.name])


@pytest.mark.parametrize("case", FAILING_OF_A_USER, ids=name_of)
def test_a_user_is_told_the_same_when_it_fails(case: Case, of_a_user: dict[str, Any]) -> None:
    _failed_alike(case, of_a_user[case.name])


@as_root
@pytest.mark.parametrize("case", [*OF_ROOT, *FAILING_OF_ROOT], ids=name_of)
def test_root_is_as_before_when_its_child_has_gone(case: Case, of_root: dict[str, Any]) -> None:
    assert of_root[case.name]["changed"] == {}


@pytest.mark.parametrize("case", [*OF_A_USER, *FAILING_OF_A_USER], ids=name_of)
def test_a_user_is_as_before_when_its_child_has_gone(case: Case, of_a_user: dict[str, Any]) -> None:
    assert of_a_user[case.name]["changed"] == {}


@as_root
def test_the_snapshot_sees_what_a_launch_does() -> None:
    def snapshot(**fields: Any) -> dict[str, Any]:
        facts: dict[str, Any] = both_ways(Case(name="case", **fields))["direct"]["facts"]
        return facts

    plain = snapshot(new=("uts",))
    other = snapshot(new=("uts", "ipc"), options={"hostname": "box"}, passed=2)
    # The second passed descriptor was not asked for, and is not there.
    new_fd = {name for name in other if name.startswith(("fd/", "fd_flags/"))} - plain.keys()
    assert len(new_fd) == 2
    changed = {name for name in other if name not in plain or other[name] != plain[name]}
    assert changed == {"hostname", "ns/ipc", *new_fd}


@as_root
def test_a_payload_has_nothing_of_its_peculiar_caller(of_root: dict[str, Any]) -> None:
    with direct_cases.peculiar_caller():
        own = direct_cases.caller()
    facts = of_root["alone"]["direct"]["facts"]
    assert own["death signal"] != 0
    assert (facts["death signal"], facts["dumpable"], facts["umask"]) == ("0", "1", "027")
    assert {facts[name] for name in facts if name.startswith("signal/")} == {"default"}
    assert (facts["session"], facts["process group"]) == ("its own", "its own")
    masks = {name: int(facts["status"][name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")}
    assert masks == {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0}


# --- who goes direct ------------------------------------------------------------------------------


def _held(kind: str) -> Callable[[], BootstrapData]:
    return lambda: message((), [Namespace(NamespaceType.parse(kind), f"/proc/self/ns/{kind}")])


IN_TIME = "direct" if direct_cases.enters_time_by_exec() else "stages"

ROOTS_WAYS: list[tuple[str, Callable[[], BootstrapData], dict[str, Any], str]] = [
    ("nothing", message, {}, "direct"),
    ("all-but-user", lambda: message(direct_cases.DIRECT_KINDS), {}, "direct"),
    ("user", lambda: message(["user"]), {}, "direct"),
    ("user-current", lambda: message(["user"], maps="current"), {}, "direct"),
    ("user-and-others", lambda: message(["user"], maps=((0, 0, 1), (1, 9999, 9))), {}, "direct"),
    ("ranges", lambda: message(["user"], maps=((0, 100_000, 10), (10, 0, 1))), {}, "stages"),
    ("strangers", lambda: message(["user"], maps=((0, 100_000, 1),)), {}, "stages"),
    ("joined", _held("uts"), {}, "stages"),
    ("time", lambda: message(["time"]), {}, IN_TIME),
    ("oom", lambda: message(oom_score_adj=0), {}, "stages"),
    ("trace", message, {"trace": True}, "stages"),
    ("cwd", message, {"cwd": "/"}, "stages"),
]


@as_root
@pytest.mark.parametrize(
    ("make", "options", "way"),
    [row[1:] for row in ROOTS_WAYS],
    ids=[row[0] for row in ROOTS_WAYS],
)
def test_root_goes_direct_where_no_id_changes_and_nothing_is_joined(
    make: Callable[[], BootstrapData], options: dict[str, Any], way: str
) -> None:
    assert direct_cases.way_of(make(), **options) == way


@as_root
def test_a_cgroup_takes_the_stages() -> None:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mount = next(line.split()[4] for line in lines if " - cgroup2 " in line)
    own = mount.rstrip("/") + inside.read()["cgroup"]  # type: ignore[operator]
    fd = os.open(own, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert direct_cases.way_of(message(), cgroup=fd) == "stages"
    finally:
        os.close(fd)


USERS_WAYS = {
    "plain": "direct",
    "dumpable-again": "direct",
    "not-dumpable-without-user": "direct",
    "time": IN_TIME,
    "offsets": IN_TIME,
    **dict.fromkeys(
        [
            *("ranges", "two-lines", "size-2", "another's", "oom", "setgroup"),
            *("not-rootless", "no-gid-map", "no-maps", "not-dumpable"),
        ],
        "stages",
    ),
}


@pytest.mark.parametrize("name", USERS_WAYS)
def test_a_user_goes_direct_with_its_own_ids_alone(name: str, the_users: dict[str, Any]) -> None:
    assert the_users["declined"][name] == USERS_WAYS[name]


def test_a_caller_that_is_not_dumpable_stays_so(the_users: dict[str, Any]) -> None:
    assert the_users["declined"]["dumpable after"] == "0"


def _in_a_fork(job: Callable[[], Any]) -> Any:
    """What a job gives, in JSON, that changes its process for good."""
    reader, writer = os.pipe()
    pid = faults.fork()
    if pid == 0:
        try:
            os.write(writer, json.dumps(job()).encode())
        except BaseException as error:
            os.write(writer, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    os.waitpid(pid, 0)
    return json.loads(text)


IDS = {
    "all-the-same": ((4242,) * 3, (4242,) * 3, "direct"),
    "effective-uid": ((0, 4242, 0), (4242,) * 3, "stages"),
    "real-uid": ((4242, 0, 0), (0,) * 3, "stages"),
    "saved-uid": ((4242, 4242, 0), (4242,) * 3, "stages"),
    "effective-gid": ((4242,) * 3, (0, 4242, 0), "stages"),
    "saved-gid": ((4242,) * 3, (4242, 4242, 0), "stages"),
    "root-of-another-group": ((0,) * 3, (4242,) * 3, "stages"),
}


@as_root
@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("new", [(), ("user",)], ids=["nothing", "user"])
def test_ids_that_are_not_all_the_same_take_the_stages(name: str, new: tuple[str, ...]) -> None:
    uids, gids, way = IDS[name]

    def job() -> str:
        os.setgroups([])
        os.setresgid(*gids)
        os.setresuid(*uids)
        faults.set_dumpable()
        with direct_cases.ways_gone() as gone, contextlib.suppress(BootstrapError):
            launch(message(new), TRUE).__exit__()
        return gone[0]

    assert _in_a_fork(job) == way


@as_root
@pytest.mark.parametrize("kind", direct_cases.DIRECT_KINDS)
def test_root_without_capabilities_gets_the_same_either_way(kind: str) -> None:
    def job() -> list[object]:
        direct_cases.drop_capabilities()
        came: list[object] = []
        for trace in (False, True):
            try:
                with launch(message([kind]), TRUE, trace=trace) as child:
                    came.append(child.wait(launching.SECONDS))
            except BootstrapError as error:
                came.append(str(error))
        return came

    assert _in_a_fork(job) == [0, 0]


@as_root
def test_the_caller_does_not_become_dumpable_or_stop_being_it() -> None:
    def job() -> list[int]:
        seen = []
        for value in (0, 1):
            direct_cases.set_dumpable(value)
            launch(message(direct_cases.DIRECT_KINDS), TRUE).__exit__()
            with contextlib.suppress(BootstrapError):
                launch(message(["uts"]), Program(["/no/such"]))
            seen.append(direct_cases.dumpable())
        return seen

    assert _in_a_fork(job) == [0, 1]


# --- beside threads and signals -------------------------------------------------------------------

CROWD = """
import itertools, json, os, signal, sys, threading
from launching import *
import direct_cases

rung = here = 0
def ring(*_):
    global rung
    rung += 1

wrong, done = [], []
data = message(["uts", "ipc"])

def launch_often():
    # Until enough signals have come, however fast this machine is.
    for n in itertools.count():
        if n >= 40 and rung > 100 and here > 10:
            break
        try:
            if n % 4:
                with launch(data, Program(["/bin/true"]), hostname="box") as child:
                    if child.wait(SECONDS) != 0:
                        wrong.append(repr(child))
            else:
                launch(data, Program(["/no/such"]))
                wrong.append("it was there")
        except BootstrapError as error:
            if not n % 4 and str(error).startswith("init: execve /no/such: No such file"):
                continue
            wrong.append(str(error))
        except BaseException as error:
            wrong.append(repr(error))
    done.append(1)

def allocate():
    kept = []
    while len(done) < 8:
        kept = [bytearray(n * 37 % 300_000) for n in range(60)] + [kept[:10]]
        for piece in kept[:-1]:
            if any(piece[:50]):
                wrong.append("memory has changed")

signal.signal(signal.SIGALRM, ring)
before = direct_cases.caller()
threads = [threading.Thread(target=t) for t in [launch_often] * 8 + [allocate] * 2]
for thread in threads:
    thread.start()
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while any(thread.is_alive() for thread in threads):
    # The main thread is the one that handlers run in: it launches as well.
    try:
        launch(data, Program(["/no/such"]))
    except BootstrapError:
        here += 1
signal.setitimer(signal.ITIMER_REAL, 0)
after = direct_cases.caller()
for name in before:
    if name not in ("status", "mountinfo") and before[name] != after[name]:
        wrong.append((name, before[name], after[name]))
left = direct_cases._a_child()
print(json.dumps({"wrong": wrong, "rung": rung, "left": left, "here": here}))
"""


@as_root
def test_threads_signals_and_many_direct_launches_do_not_disturb_each_other() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", CROWD],
        env={**os.environ, "PYTHONPATH": launching.PYTHONPATH},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["wrong"], said["left"]) == ([], False)
    assert said["rung"] > 100
    assert said["here"] > 10


@as_root
def test_a_failed_launch_reaps_its_child_whatever_signal_comes() -> None:
    """On one processor the caller waits before the child is a zombie, and is interrupted."""

    def job() -> tuple[int, bool]:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        rung = 0

        def ring(*_: object) -> None:
            nonlocal rung
            rung += 1

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
        for number in itertools.count():
            if number >= 300 and rung > 100:
                break
            with contextlib.suppress(BootstrapError):
                launch(message(["uts"]), Program(["/no/such"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        return rung, direct_cases._a_child()

    rung, left = _in_a_fork(job)
    assert rung > 100
    assert not left, "zombies"
