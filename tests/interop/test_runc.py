"""Our messages drive the real runc's stages, and runc's messages drive ours, with equal results.

There is one table of cases. A case is a message, which is made here by the reference encoder, or
captured from a running runc. Each message is given to both stubs: Debian's `runc init` and our
`nsinit`. The tests read from /proc where each ends up, compare it with the message, and compare the
two field by field. Attribute 27290 means mount sources to runc 1.1, and time offsets since 1.2, so
the cases with a time namespace are for our stub only.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import reference
from interop import capture
from interop.capture import BUSYBOX, ID_RANGES
from interop.runc_parent import (
    NAMESPACE_KINDS,
    ProcessState,
    RuncParent,
    StageExits,
    StubError,
    children,
    driven,
    read_state,
)
from needs import needs
from processes import wait_until_executed
from reference import KIND_FLAGS, NEWTIME, NEWUSER

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runc's stages are driven here as root")

PLAIN = sum(KIND_FLAGS[kind] for kind in ("pid", "net", "ipc", "uts", "mnt"))
OFFSETS = [("monotonic", 3600, 5), ("boottime", 7200, 0)]


# --- the machine's side: helpers, containers, captures ------------------------------------------


class Scene:
    """What the messages are about, each made when it is first asked for, and kept.

    All but the helper, a process with namespaces of its own to be joined: it is a child of this
    process, and a test in which a child appears that stays is one that leaves it behind.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self.helper = stack.enter_context(process_with_namespaces())

    @functools.cached_property
    def plain(self) -> tuple[str, int]:
        """A running container with runc's default namespaces: id and pid."""
        bundle = capture.make_bundle(self._folder / "plain")
        return self._stack.enter_context(capture.running_container(bundle))

    @functools.cached_property
    def mapped(self) -> tuple[str, int]:
        """A running container with a user namespace: id and pid."""
        bundle = capture.make_bundle(self._folder / "mapped", capture.with_user_namespace)
        capture.own_the_root(bundle)
        return self._stack.enter_context(capture.running_container(bundle))

    @functools.cached_property
    def run_plain(self) -> bytes:
        return self._capture_run("run-plain")

    @functools.cached_property
    def run_mapped(self) -> bytes:
        return self._capture_run("run-mapped", capture.with_user_namespace)

    @functools.cached_property
    def run_oom(self) -> bytes:
        return self._capture_run("run-oom", capture.with_score(500))

    @functools.cached_property
    def exec_plain(self) -> bytes:
        return capture.capture_exec(self.plain[0], self._folder)

    @functools.cached_property
    def exec_mapped(self) -> bytes:
        return capture.capture_exec(self.mapped[0], self._folder)

    def _capture_run(self, name: str, *edits: capture.Edit) -> bytes:
        def edit(config: capture.Config) -> None:
            for change in (capture.ending_at_once, *edits):
                change(config)

        bundle = capture.make_bundle(self._folder / name, edit)
        if capture.with_user_namespace in edits:
            capture.own_the_root(bundle)
        return capture.capture_run(bundle, self._folder)


@contextlib.contextmanager
def process_with_namespaces() -> Iterator[int]:
    """A process that sleeps in net, ipc, uts, cgroup and mount namespaces of its own."""
    unshare = needs("unshare", package="util-linux")
    kinds = ["--net", "--ipc", "--uts", "--cgroup", "--mount"]
    busybox = needs("busybox", package="busybox-static")
    sleeper = subprocess.Popen([unshare, *kinds, busybox, "sleep", "1000"])
    try:
        wait_until_executed(sleeper.pid, "busybox")  # so unshare(1) has done its part
        yield sleeper.pid
    finally:
        sleeper.kill()
        sleeper.wait()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    before = children()
    with contextlib.ExitStack() as stack:
        yield Scene(tmp_path_factory.mktemp("runc"), stack)
    assert children() == before


# --- the cases ----------------------------------------------------------------------------------


def joined(pid: int, *kinds: str) -> list[tuple[str, bytes]]:
    return [(kind, f"/proc/{pid}/ns/{kind}".encode()) for kind in kinds]


def made(flags: int, **fields: Any) -> bytes:
    return reference.encode({"clone_flags": flags, "rootless_euid": False} | fields)


def made_mapped(_scene: Scene) -> bytes:
    maps = {"uidmap": ID_RANGES, "gidmap": ID_RANGES, "setgroup": True}
    return made(PLAIN | NEWUSER, **maps)


def made_mixed(scene: Scene) -> bytes:
    new = KIND_FLAGS["pid"] | KIND_FLAGS["mnt"] | KIND_FLAGS["ipc"]
    return made(new, ns_paths=joined(scene.helper, "uts", "net"), oom_score_adj=250)


def made_exec(scene: Scene) -> bytes:
    return made(0, ns_paths=joined(scene.plain[1], "ipc", "uts", "net", "pid", "mnt"))


def made_exec_mapped(scene: Scene) -> bytes:
    return made(0, ns_paths=joined(scene.mapped[1], "user", "ipc", "uts", "net", "pid", "mnt"))


@dataclass(frozen=True, slots=True)
class Case:
    """A message, and which stubs understand it."""

    name: str
    message: Callable[[Scene], bytes]
    inittype: str = "standard"
    for_runc: bool = True


CASES = [
    Case("nothing", lambda _: made(0)),
    Case("five-new", lambda _: made(PLAIN)),
    Case("five-new-and-cgroup", lambda _: made(PLAIN | KIND_FLAGS["cgroup"])),
    Case("userns-3-ranges", made_mapped),
    Case("oom", lambda _: made(PLAIN, oom_score_adj=500)),
    Case("join", lambda scene: made(0, ns_paths=joined(scene.helper, "ipc", "uts", "net"))),  # type: ignore[has-type]
    Case("join-cgroup", lambda scene: made(0, ns_paths=joined(scene.helper, "cgroup"))),  # type: ignore[has-type]
    Case("join-and-new", made_mixed),
    Case("exec", made_exec, inittype="setns"),
    Case("exec-userns", made_exec_mapped, inittype="setns"),
    Case("live-run", lambda scene: scene.run_plain),
    Case("live-run-userns", lambda scene: scene.run_mapped),
    Case("live-run-oom", lambda scene: scene.run_oom),
    Case("live-exec", lambda scene: scene.exec_plain, inittype="setns"),
    Case("live-exec-userns", lambda scene: scene.exec_mapped, inittype="setns"),
    Case("time", lambda _: made(PLAIN | NEWTIME), for_runc=False),
    Case(
        "time-offsets",
        lambda _: made(PLAIN | NEWTIME, timensoffset=OFFSETS),
        for_runc=False,
    ),
]
SHARED_CASES = [case for case in CASES if case.for_runc]
BY_NAME = {case.name: case for case in CASES}


# --- the stubs ----------------------------------------------------------------------------------

# What our stub runs in stage 2: it answers on the pipe whose number it finds in its environment,
# waits there for a line, and ends with a status of its own.
PROGRAM = (
    BUSYBOX,
    "sh",
    "-c",
    'echo ready >&"$_LIBCONTAINER_INITPIPE"; read -r line <&"$_LIBCONTAINER_INITPIPE"; exit 7',
)


def argv_of(stub: str) -> list[str | os.PathLike[str]]:
    if stub == "runc":
        return [capture.runc(), "init"]
    from nsenter.launch import nsinit_path  # not needed by what tests runc alone

    needs("busybox", package="busybox-static")
    return [nsinit_path(), *PROGRAM]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where a message led, in terms that do not differ from one run to the next."""

    exits: StageExits
    log: bytes
    namespaces: dict[str, str]  # kind → "own", "joined" or "new"
    uid_map: list[tuple[int, ...]]
    gid_map: list[tuple[int, ...]]
    setgroups: str
    oom_score_adj: int
    uids: tuple[int, ...]
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    pid_depth: int
    is_pid_1: bool
    leads_session: bool
    leads_process_group: bool
    capabilities: dict[str, str]


@contextlib.contextmanager
def arrived(
    stub: str, case: Case, message: bytes, sizes: list[int] | None = None
) -> Iterator[tuple[RuncParent, Outcome]]:
    """A stub that was sent the message, and where its stage 2 is."""
    targets = targets_of(message)
    stub_run = driven(argv_of(stub), message, sizes=sizes, inittype=case.inittype)
    with stub_run as (parent, exits):
        if stub == "ours":
            assert parent.read(6) == b"ready\n"
        state = read_state(parent.stage2_pid)
        yield parent, outcome(state, exits, parent.log_bytes, targets)


def targets_of(message: bytes) -> dict[str, str]:
    """The namespaces that a message asks to join: kind → "net:[4026531840]"."""
    paths = reference.parse(message).get("ns_paths", [])
    return {kind: str(Path(os.fsdecode(path)).readlink()) for kind, path in paths}


def outcome(state: ProcessState, exits: StageExits, log: bytes, targets: dict[str, str]) -> Outcome:
    return Outcome(
        exits=exits,
        log=log,
        namespaces=relations(state.namespaces, targets),
        uid_map=state.uid_map,
        gid_map=state.gid_map,
        setgroups=state.setgroups,
        oom_score_adj=state.oom_score_adj,
        uids=state.uids,
        gids=state.gids,
        groups=state.groups,
        pid_depth=len(state.pids),
        is_pid_1=state.pids[-1] == 1,
        leads_session=state.sessions == state.pids,
        leads_process_group=state.process_groups == state.pids,
        capabilities=state.capabilities,
    )


def relations(namespaces: dict[str, str], targets: dict[str, str]) -> dict[str, str]:
    own = read_state().namespaces
    return {kind: relation(namespaces[kind], own[kind], targets.get(kind)) for kind in namespaces}


def relation(namespace: str, own: str, target: str | None) -> str:
    if namespace == target:
        return "joined"
    return "own" if namespace == own else "new"


# --- what a message asks for --------------------------------------------------------------------


def asked(message: bytes) -> dict[str, object]:
    """The fields of Outcome that follow from the message alone, and what they must be."""
    fields = reference.parse(message)
    own = read_state()
    uid_map, gid_map = maps_asked(fields, own)
    kinds = dict.fromkeys(NAMESPACE_KINDS, "own")
    kinds |= {kind: "new" for kind in KIND_FLAGS if fields["clone_flags"] & KIND_FLAGS[kind]}
    kinds |= {kind: "joined" for kind, _ in fields.get("ns_paths", [])}
    return {
        "exits": StageExits(0, 0),
        "log": b"",
        "namespaces": kinds,
        "uid_map": uid_map,
        "gid_map": gid_map,
        "setgroups": "allow",
        "oom_score_adj": fields.get("oom_score_adj", own.oom_score_adj),
        "uids": (uid_map[0][1],) * 4,  # whoever is 0 inside; every map here begins with 0
        "gids": (gid_map[0][1],) * 4,
        "pid_depth": len(own.pids) + (kinds["pid"] != "own"),
        "is_pid_1": kinds["pid"] == "new",
        "leads_session": True,
        "leads_process_group": True,
    }


def maps_asked(
    fields: reference.Fields, own: ProcessState
) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The id maps: those sent, those of the process whose user namespace is joined, or ours."""
    for kind, path in fields.get("ns_paths", []):
        if kind == "user":
            target = read_state(Path(os.fsdecode(path)).parts[2])
            return target.uid_map, target.gid_map
    return fields.get("uidmap", own.uid_map), fields.get("gidmap", own.gid_map)


def differences(found: Outcome, expected: dict[str, object]) -> dict[str, tuple[object, object]]:
    """Field → (found, expected), for those that are not the same."""
    pairs = {name: (getattr(found, name), value) for name, value in expected.items()}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def everything(found: Outcome) -> dict[str, object]:
    return {name: getattr(found, name) for name in Outcome.__slots__}


def ids(case: Case) -> str:
    return case.name


# --- the promises -------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SHARED_CASES, ids=ids)
def test_the_message_drives_the_real_runc(case: Case, scene: Scene) -> None:
    message = case.message(scene)
    with arrived("runc", case, message) as (_, found):
        assert differences(found, asked(message)) == {}


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_the_message_drives_our_stub(case: Case, scene: Scene) -> None:
    message = case.message(scene)
    with arrived("ours", case, message) as (_, found):
        assert differences(found, asked(message)) == {}


@pytest.mark.parametrize("case", SHARED_CASES, ids=ids)
def test_both_stubs_end_up_in_the_same_place(case: Case, scene: Scene) -> None:
    message = case.message(scene)
    with arrived("runc", case, message) as (_, theirs), arrived("ours", case, message) as (_, ours):
        assert differences(ours, everything(theirs)) == {}


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_our_encoder_writes_the_same_message(case: Case, scene: Scene) -> None:
    from nsenter.bootstrap import BootstrapData

    message = case.message(scene)
    unnumbered = message[:8] + bytes(8) + message[16:]  # nlmsg_seq and nlmsg_pid are free
    assert BootstrapData.decode(message).encode() == unnumbered


@pytest.mark.parametrize(
    ("live", "alike"),
    [
        ("live-run", "five-new"),
        ("live-run-userns", "userns-3-ranges"),
        ("live-run-oom", "oom"),
        ("live-exec", "exec"),
        ("live-exec-userns", "exec-userns"),
    ],
)
def test_runc_writes_what_the_reference_writes(live: str, alike: str, scene: Scene) -> None:
    theirs, ours = BY_NAME[live].message(scene), BY_NAME[alike].message(scene)
    assert theirs[:8] + theirs[16:] == ours[:8] + ours[16:]


@pytest.mark.parametrize("stub", ["runc", "ours"])
def test_the_reply_is_one_line_with_both_pids(stub: str, scene: Scene) -> None:
    case = BY_NAME["five-new"]
    with arrived(stub, case, case.message(scene)) as (parent, _):
        assert parent.reply is not None
        assert re.fullmatch(rb'\{"stage1_pid":\d+,"stage2_pid":\d+\}\n', parent.reply.raw)
        pids = {parent.stage0_pid, parent.reply.stage1_pid, parent.reply.stage2_pid}
        assert len(pids) == 3
        assert parent.descendants() == {parent.stage2_pid}


@pytest.mark.parametrize("stub", ["runc", "ours"])
def test_at_the_debug_level_each_log_line_is_an_object_of_level_and_msg(stub: str) -> None:
    with driven(argv_of(stub), made(PLAIN), loglevel=5) as (parent, _):
        if stub == "ours":
            parent.read(6)
        # runc's Go half, which boots at its own time, adds a third key: "time".
        lines = [line for line in parent.log_lines if "time" not in line]
    assert lines
    assert all(line.keys() == {"level", "msg"} for line in lines)
    assert {line["level"] for line in lines} == {"debug"}
    assert all(line["msg"].startswith("nsexec") for line in lines)


@pytest.mark.parametrize("stub", ["runc", "ours"])
def test_a_score_that_the_kernel_refuses_is_fatal_and_logged(stub: str) -> None:
    # To lower a score takes CAP_SYS_RESOURCE, which a test machine's root may have or not.
    setpriv = needs("setpriv", package="util-linux")
    argv = [setpriv, "--bounding-set=-sys_resource", *argv_of(stub)]
    with RuncParent(argv) as parent:
        parent.await_hello()
        parent.send(made(PLAIN, oom_score_adj=-1000))
        with pytest.raises(StubError, match="end of file instead of the reply"):
            parent.await_reply()
        assert parent.await_exit(parent.stage0_pid) == 1
        assert [line["level"] for line in parent.log_lines] == ["fatal"]
        assert "oom_score_adj" in parent.log_lines[0]["msg"]
        assert parent.descendants() == set()


def test_the_program_has_the_init_pipe_and_its_own_exit_status(scene: Scene) -> None:
    case = BY_NAME["live-run"]
    with arrived("ours", case, case.message(scene)) as (parent, _):
        parent.write(b"go\n")
        assert parent.await_stage2() == 7


def test_the_program_is_in_the_container_it_was_sent_into(scene: Scene) -> None:
    case = BY_NAME["live-exec"]
    with arrived("ours", case, case.message(scene)) as (parent, _):
        theirs = Path(f"/proc/{scene.plain[1]}/root/bin/busybox").stat()
        program = Path(f"/proc/{parent.stage2_pid}/exe").stat()
        assert (program.st_dev, program.st_ino) == (theirs.st_dev, theirs.st_ino)


def test_time_offsets_are_those_of_the_message(scene: Scene) -> None:
    case = BY_NAME["time-offsets"]
    with arrived("ours", case, case.message(scene)) as (parent, _):
        lines = Path(f"/proc/{parent.stage2_pid}/timens_offsets").read_text().splitlines()
        assert [tuple(line.split()) for line in lines] == [
            (clock, str(secs), str(nsecs)) for clock, secs, nsecs in OFFSETS
        ]


# --- chunks: runc itself dies of the second write (invalid netlink header length) -----------


@pytest.mark.parametrize("name", ["live-run-userns", "live-exec-userns"])
def test_a_message_may_arrive_one_byte_at_a_time(name: str, scene: Scene) -> None:
    case = BY_NAME[name]
    message = case.message(scene)
    with arrived("ours", case, message, [1] * len(message)) as (_, found):
        assert differences(found, asked(message)) == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_message_may_arrive_in_any_chunks(seed: int, scene: Scene) -> None:
    case = BY_NAME["userns-3-ranges"]
    message = case.message(scene)
    with arrived("ours", case, message, chunks(len(message), seed)) as (_, found):
        assert differences(found, asked(message)) == {}


def chunks(length: int, seed: int) -> list[int]:
    """Sizes that add up to `length`, the same for the same seed."""
    generator = random.Random(seed)
    cuts = sorted(generator.sample(range(1, length), generator.randint(1, 12)))
    return [end - start for start, end in zip([0, *cuts], [*cuts, length], strict=True)]
