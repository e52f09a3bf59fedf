"""Cases of launching, as data, and what comes of them: the same table for root and for a user.

As a script (an unprivileged user runs it, see `as_the_user`) it reads cases from its argument
and prints what came of each, in JSON.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import os
import select
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import inside
import processes
import rootless
from nsenter import idmap
from nsenter.bootstrap import BootstrapData, TimeOffset, bootstrap_data
from nsenter.errors import BootstrapError
from nsenter.launch import Child, Program, PythonInit, launch
from nsenter.namespaces import Namespace, Namespaces, NamespaceType

ROOT = Path(__file__).resolve().parents[2]
# The checkout and the tests' own helpers.
TESTS = ROOT / "tests"
PYTHONPATH = os.pathsep.join(map(str, (ROOT, TESTS, TESTS / "support", TESTS / "payloads")))

SECONDS = processes.SECONDS
TARGETS = ("program", "python")
KINDS = inside.KINDS
ALL_BUT_USER = tuple(kind for kind in KINDS if kind != "user")

# What a root's holder maps: not the host's root, and setgroups is allowed.
HOLDER_MAP = ((0, 200_000, 1000),)
SLEEP = Program(["sleep", "1000"])

Facts = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One launch.

    Args:
        name: of the case, for people.
        new, joined: kinds of namespaces; joined are the ones of a holder.
        by: how: "path", "fd" or "pidfd".
        maps: "root", "current", "auto", or rows of a map that is both the uids' and the gids'.
        target: "program" and "python" say what they see of themselves; "shell" says nothing, but
            runs as a user who may not search the folders of this interpreter; else a path.
        options: further arguments of `launch`.
    """

    name: str
    new: tuple[str, ...] = ()
    joined: tuple[str, ...] = ()
    by: str = "path"
    maps: str | tuple[tuple[int, int, int], ...] = "root"
    oom_score_adj: int | None = None
    offsets: tuple[tuple[str, int, int], ...] = ()
    target: str = "program"
    options: dict[str, Any] = field(default_factory=dict)


def of_each_target(*cases: Case) -> list[Case]:
    return [
        dataclasses.replace(case, name=f"{case.name}-{target}", target=target)
        for case in cases
        for target in TARGETS
    ]


def mappings(maps: str | Iterable[Iterable[int]]) -> idmap.IDMappings:
    if isinstance(maps, str):
        found: idmap.IDMappings = getattr(idmap, f"map_{maps}")()
        return found
    rows = tuple(idmap.IDMap(*row) for row in maps)
    return idmap.IDMappings(rows, rows)


def message(
    new: Iterable[str] = (),
    joined: Iterable[Namespace] = (),
    maps: str | Iterable[Iterable[int]] = "root",
    **fields: Any,
) -> BootstrapData:
    """The message that creates these kinds of namespaces and joins those."""
    created = [Namespace(NamespaceType.parse(kind)) for kind in new]
    namespaces = Namespaces([*created, *joined])
    if namespaces.is_private(NamespaceType.NEWUSER):
        ids = mappings(maps)
        fields |= {"uid_mappings": ids.uid, "gid_mappings": ids.gid}
    return bootstrap_data(namespaces, **fields)


# --- a payload that reports ---------------------------------------------------------------------


_PROGRAMS = {
    "program": [sys.executable, "-I", "-S", inside.__file__],
    "shell": ["/bin/sh", "-c", "echo {}; read -r line; exit 0"],
}


def reporter(target: str) -> Program | PythonInit:
    return (
        PythonInit("inside:report")
        if target == "python"
        else Program(_PROGRAMS.get(target, [target]))
    )


@contextlib.contextmanager
def reporting(
    data: BootstrapData, target: str = "program", **options: Any
) -> Iterator[tuple[Child, Facts]]:
    """A process that runs, and what it says of itself. It ends well when the block does."""
    with contextlib.ExitStack() as stack:
        stdin, release = pipe(stack)
        said, stdout = pipe(stack)
        child = stack.enter_context(
            launch(data, reporter(target), stdin=stdin, stdout=stdout, **options)
        )
        os.close(stdin)
        os.close(stdout)
        yield child, ast.literal_eval(read_line(said))
        os.close(release)
        assert child.wait(SECONDS) == 0


def pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    """Its ends are closed when the stack is, if they are not yet."""
    ends = os.pipe()
    for end in ends:
        stack.callback(_close, end, _link(end))
    return ends


def _close(fd: int, link: str) -> None:
    with contextlib.suppress(OSError):
        if _link(fd) == link:
            os.close(fd)


def _link(fd: int) -> str:
    return str(Path(f"/proc/self/fd/{fd}").readlink())


def read_line(fd: int) -> str:
    return read_until(fd, b"\n")


def read_until(fd: int, ending: bytes) -> str:
    """What comes from a pipe or a terminal, which may come in any number of pieces."""
    data = b""
    while not data.endswith(ending):
        ready, _, _ = select.select([fd], [], [], SECONDS)
        part = os.read(fd, 1 << 16) if ready else b""
        if not part:
            raise AssertionError(f"the payload does not say {ending!r}, but {data!r}")
        data += part
    return data.decode()


# --- the tests of a file again, as a user -------------------------------------------------------


def run_tests_as_user(file: str, besides: str) -> str:
    """Run the tests of a file as a user, apart from those that `besides` names as pytest's -k does.

    What only the machine's root has in a namespace of a worker, this user may have: so none is
    skipped for the place (see tests/places/plugin.py). What only root can do is skipped there, and
    the run of root has it.
    """
    settings = ["env", "-u", "CI", "NSENTER_TEST_ALL=1", f"PYTHONPATH={PYTHONPATH}"]
    words = ["-q", "-p", "no:cacheprovider", "-k", besides, file]
    done = rootless.as_user([*settings, sys.executable, "-m", "pytest", *words], timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# --- a process whose namespaces are joined ------------------------------------------------------


@contextlib.contextmanager
def holder() -> Iterator[Child]:
    """A process in a new namespace of each kind, as the caller may make them."""
    maps = HOLDER_MAP if os.geteuid() == 0 else "root"
    with launch(message(KINDS, maps=maps, time_offsets=[TimeOffset("boottime", 5000)]), SLEEP) as c:
        yield c


@contextlib.contextmanager
def joining(pid: int, kinds: Iterable[str], by: str) -> Iterator[list[Namespace]]:
    """The namespaces of a process, to be joined by their paths, by descriptors, by a pidfd."""
    with contextlib.ExitStack() as stack:
        kinds = [NamespaceType.parse(kind) for kind in kinds]
        if by == "path":
            found = [Namespace.from_pid(kind, pid) for kind in kinds]
        elif by == "pidfd":
            fd = os.pidfd_open(pid)
            stack.callback(os.close, fd)
            found = [Namespace.from_fd(kind, fd) for kind in kinds]
        else:
            found = []
            for kind in kinds:
                fd = os.open(f"/proc/{pid}/ns/{NamespaceType.parse(kind).ns_name()}", os.O_RDONLY)
                stack.callback(os.close, fd)
                found.append(Namespace.from_fd(kind, fd))
        yield found


# --- the cases ----------------------------------------------------------------------------------


def outcome(case: Case, held: int = 0) -> Facts:
    """What comes of a case: the process as /proc has it, what it says, its caller, its holder.

    Only `error`, when it could not be started.
    """
    try:
        with joining(held, case.joined, case.by) as joined:
            return _outcome(case, joined, held)
    except BootstrapError as error:
        return {"error": described(error)}


def _outcome(case: Case, joined: list[Namespace], held: int) -> Facts:
    offsets = [TimeOffset(*offset) for offset in case.offsets]
    data = message(
        case.new, joined, case.maps, oom_score_adj=case.oom_score_adj, time_offsets=offsets
    )
    options = {"env": {"CASE": case.name}, **case.options}
    with reporting(data, case.target, **options) as (child, seen):
        return {
            "pid": child.pid,
            "state": inside.read(child.pid),
            "seen": seen,
            "caller": inside.read() | {"seen": inside.look()},
            "held": inside.read(held) if case.joined else None,
        }


def described(error: BootstrapError) -> Facts:
    names = ("stage", "operation", "subject", "errno", "hint")
    return {name: getattr(error, name) for name in names} | {"text": str(error)}


def outcomes(cases: Iterable[Case]) -> dict[str, Facts]:
    with holder() as held:
        return {case.name: outcome(case, held.pid) for case in cases}


# --- what is promised ---------------------------------------------------------------------------


def broken(case: Case, found: Facts) -> Facts:
    """The promises that a process of this case does not keep: name → (found, promised)."""
    if "error" in found:
        return {"error": (found["error"], None)}
    kept, promised = _kept(case, found), _promised(case, found)
    return {name: (kept[name], promised[name]) for name in kept if kept[name] != promised[name]}


def _kept(case: Case, found: Facts) -> Facts:
    """What /proc and the process itself say, in the terms of `_promised`."""
    state, seen = found["state"], found["seen"]
    readable = [name for name in ("environment", "words") if state[name] is not None]
    return {
        "relations": relations(found),
        "pid": state["pids"][0],
        "depth": len(state["pids"]),
        "is pid 1": state["pids"][-1] == 1,
        "sessions": state["sessions"],
        "process groups": state["process_groups"],
        "uid_map": state["uid_map"],
        "gid_map": state["gid_map"],
        "uids": state["uids"],
        "gids": state["gids"],
        "setgroups": state["setgroups"],
        "oom_score_adj": state["oom_score_adj"],
        "threads": state["threads"],
        "capabilities": state["capabilities"],
        "owner": state["owner"],
        **{name: state[name] for name in readable},
        **({} if state["descriptors"] is None else {"descriptors": _kinds(state["descriptors"])}),
        **(_kept_inside(case, found) if seen else {}),
    }


def _kept_inside(case: Case, found: Facts) -> Facts:
    seen, caller = found["seen"], found["caller"]["seen"]
    return {
        "own pid": seen["pid"],
        "own session": seen["session"],
        "own process group": seen["process_group"],
        "blocked": seen["blocked"],
        "cwd": seen["cwd"],
        "hostname": seen["hostname"],
        "clocks": [round((seen[c] - caller[c]) / 10) for c in ("monotonic", "boottime")],
        **({"os.environ": seen["environment"]} if case.target == "python" else {}),
    }


def _promised(case: Case, found: Facts) -> Facts:
    state, caller = found["state"], found["caller"]
    python = case.target == "python"
    # The files in /proc of a PythonInit that has joined somebody's namespaces are the host's
    # root's, whoever's it is: who is there cannot ptrace it. The kernel does the same to one
    # whose host uid has changed, and only an execve undoes that (PR_SET_DUMPABLE(2const)).
    hidden = python and (bool(case.joined) or state["uids"] != caller["uids"])
    return {
        "relations": dict.fromkeys(KINDS, "own")
        | dict.fromkeys(case.new, "new")
        | dict.fromkeys(case.joined, "joined"),
        "pid": found["pid"],
        "depth": len(caller["pids"]) + ("pid" in case.new + case.joined),
        "is pid 1": "pid" in case.new,
        "sessions": state["pids"],
        "process groups": state["pids"],
        "own pid": state["pids"][-1],
        "own session": state["pids"][-1],
        "own process group": state["pids"][-1],
        **_ids(case, found, "uid"),
        **_ids(case, found, "gid"),
        "setgroups": _setgroups(case, found),
        "oom_score_adj": caller["oom_score_adj"]
        if case.oom_score_adj is None
        else case.oom_score_adj,
        "threads": 1,
        "blocked": [],
        "capabilities": {"CapInh": 0, "CapAmb": 0},
        "cwd": case.options.get("cwd", "/" if "mnt" in case.joined else caller["seen"]["cwd"]),
        "hostname": case.options.get("hostname", caller["seen"]["hostname"]),
        "clocks": _offsets(case, found),
        "owner": 0 if hidden else state["uids"][1],
        "environment": [] if python else [f"CASE={case.name}"],
        "os.environ": {"CASE": case.name},
        "words": ["nsenter-init"] if python else _PROGRAMS[case.target],
        "descriptors": ["pipe", "pipe", "stderr", *(["socket"] if python else [])],
    }


def relations(found: Facts) -> dict[str, str]:
    """Kind → "new", "joined" (the holder's) or "own" (the caller's)."""
    held = found["held"]["namespaces"] if found["held"] else {}
    own = found["caller"]["namespaces"]

    def relation(kind: str, namespace: str) -> str:
        if namespace == held.get(kind):
            return "joined"
        return "own" if namespace == own[kind] else "new"

    shown = found["seen"].get("namespaces") or found["state"]["namespaces"]
    return {kind: relation(kind, ns) for kind, ns in shown.items()}


def _ids(case: Case, found: Facts, kind: str) -> Facts:
    """The map, and who the process is by the host's ids: root of a user namespace that has one."""
    own = found["caller"][f"{kind}s"][1]
    rows = found["caller"][f"{kind}_map"]
    if "user" in case.joined:
        rows = found["held"][f"{kind}_map"]
    elif "user" in case.new:
        rows = _rows(case, own)
    roots = [host for container, host, _ in rows if container == 0]
    mapped = "user" in case.new + case.joined
    return {f"{kind}_map": rows, f"{kind}s": [roots[0] if mapped and roots else own] * 4}


def _rows(case: Case, own: int) -> list[list[int]]:
    if case.maps == "auto":
        start, count = map(int, rootless.SUBIDS.split(":"))
        return [[0, own, 1], [1, start, count]]
    if isinstance(case.maps, str):
        return [[0 if case.maps == "root" else own, own, 1]]
    return [list(row) for row in case.maps]


def _setgroups(case: Case, found: Facts) -> str:
    """An unprivileged user's own map denies it for good; what newgidmap writes does not."""
    if "user" in case.joined:
        return str(found["held"]["setgroups"])
    own_map = "user" in case.new and case.maps != "auto" and found["caller"]["uids"][1] != 0
    return "deny" if own_map else "allow"


def _offsets(case: Case, found: Facts) -> list[int]:
    """In tens of seconds, of the monotonic and the boottime clock."""
    rows = found["held"]["offsets"] if "time" in case.joined else case.offsets
    ahead = {clock: int(secs) for clock, secs, _ in rows}
    return [round(ahead.get(clock, 0) / 10) for clock in ("monotonic", "boottime")]


def _kinds(descriptors: dict[str, str]) -> list[str]:
    """What kind each descriptor is of; of the stderr, which it has from its caller, no matter."""
    rising = sorted(descriptors, key=int)
    return ["stderr" if n == "2" else descriptors[n].partition(":")[0] for n in rising]


# --- as a user ----------------------------------------------------------------------------------


def as_the_user(cases: Iterable[Case], *, subids: bool = True) -> dict[str, Facts]:
    """The outcomes of cases that an unprivileged user starts, all in one process of its own."""
    text = json.dumps([dataclasses.asdict(case) for case in cases])
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-m", "launching", text]
    done = rootless.as_user(words, subids=subids)
    assert done.returncode == 0, done.stderr
    found: dict[str, Facts] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    json.dump(outcomes(Case(**case) for case in json.loads(sys.argv[1])), sys.stdout)
