"""The two ways of a Program: direct, and by the stages; what comes of each, side by side.

A table of launches, each done both ways (a trace forces the stages), with a payload that tells
all that it can see of how it was started. Root and an unprivileged user each go through it in a
process of their own, which prints in JSON what came of it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import functools
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import launching
import rootless
from launching import SECONDS, message
from links import KEPT
from nsenter._launch.spawn import Spawn
from nsenter.bootstrap import BootstrapData, TimeOffset
from nsenter.errors import BootstrapError
from nsenter.idmap import IDMap
from nsenter.launch import Program, launch

DIRECT_KINDS = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
PLAIN_ENV = {"PATH": "/usr/bin:/bin", "EMPTY": "", "ANSWER": "a=b c"}

Facts = dict[str, str]
Outcome = dict[str, Any]

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_GET_PDEATHSIG, _PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 1, 2, 3, 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """One launch, to be done both ways.

    Args:
        name: of the case, for people.
        new: kinds of namespaces.
        maps: of a new user namespace, as for launching.message.
        argv: of the program, {snapshot} its path and {fd} where it reports filled in.
        options: further arguments of `launch`; in `env` {folder} is the snapshot's.
        streams: which of four pipe ends become 0, 1 and 2; "": the caller's own.
        closed: which of 0, 1, 2 the caller has closed before it makes these pipes.
        passed: how many descriptors are passed on, of which only every second is asked for.
    """

    name: str
    new: tuple[str, ...] = ()
    maps: str = "root"
    argv: tuple[str, ...] = ("{snapshot}", "{fd}")
    options: dict[str, Any] = field(default_factory=dict)
    streams: str = ""
    closed: str = ""
    passed: int = 0

    def ways(self) -> list[str]:
        """Without and with a trace. A working directory may never answer, so it takes stages."""
        return ["stages" if "cwd" in self.options else "direct", "stages"]


def enters_time_by_exec() -> bool:
    """Whether this kernel's execve enters a new time namespace: since Linux 6.3."""
    numbers = re.findall(r"\d+", os.uname().release)
    return tuple(map(int, numbers[:2])) >= (6, 3)


def _table(user: tuple[str, ...], maps: str, prefix: str) -> list[Case]:
    """What anybody may do who has these kinds."""

    def case(name: str, *kinds: str, **fields: Any) -> Case:
        return Case(name=f"{prefix}{name}", new=(*user, *kinds), maps=maps, **fields)

    return [
        case("alone"),
        *(case(kind, kind) for kind in DIRECT_KINDS),
        case("all", *DIRECT_KINDS),
        case("hostname", "uts", options={"hostname": "box"}),
        case("hostname-of-64", "uts", options={"hostname": "x" * 64}),
        case("proc", "pid", "mnt", options={"mount_proc": True}),
        case("cwd", options={"cwd": "/usr"}),
        case("cwd-in-all", *DIRECT_KINDS, options={"cwd": "/proc/self", "mount_proc": True}),
        case("everything", *DIRECT_KINDS, passed=4, streams="012",
             options={"mount_proc": True, "hostname": "box", "env": PLAIN_ENV}),
    ]  # fmt: skip


def _options(user: tuple[str, ...]) -> list[Case]:
    def case(name: str, **fields: Any) -> Case:
        return Case(name=name, new=(*user, "uts"), **fields)

    return [
        case("env", options={"env": PLAIN_ENV}),
        case("env-empty", options={"env": {}}),
        case("env-large", options={"env": {f"N{n}": "x" * n for n in range(500)}}),
        case("env-like-ours", options={"env": {"LD_PRELOAD": "", "_NSENTER_FDS": "1,2"}}),
        case("env-of-our-own-names",
             options={"env": {"_LIBCONTAINER_LOGPIPE": "50", "_LIBCONTAINER_LOGLEVEL": "5"}}),
        case("words", argv=("{snapshot}", "{fd}", "", " ", "ü\udcff", "-x")),
        case("in-path", argv=("snapshot", "{fd}"), options={"env": {"PATH": "/no:/etc:{folder}"}}),
        case("in-path-first", argv=("snapshot", "{fd}"), options={"env": {"PATH": "{folder}"}}),
        case("in-path-here", argv=("snapshot", "{fd}"),
             options={"env": {"PATH": "/no:"}, "cwd": "{folder}"}),
        case("relative", argv=("./snapshot", "{fd}"), options={"cwd": "{folder}"}),
        case("script", argv=("{folder}/script", "{fd}")),
        case("pass-fds", passed=6),
        case("streams", streams="012"),
        case("streams-swapped", streams="021"),
        case("streams-rotated", streams="201"),
        case("streams-the-same", streams="333"),
        *(case(f"closed-{c}", closed=c, streams="012") for c in ("0", "1", "2", "02", "012")),
        *(case(f"closed-{c}-rotated", closed=c, streams="201") for c in ("0", "12", "012")),
        case("closed-012-reversed-and-passed", closed="012", streams="210", passed=4),
    ]  # fmt: skip


def _failing(user: tuple[str, ...]) -> list[Case]:
    def case(name: str, *kinds: str, **fields: Any) -> Case:
        return Case(name=name, new=(*user, "uts", *kinds), **fields)

    return [
        case("no-such-program", argv=("no-such-program",)),
        case("no-such-path", argv=("/no/such",)),
        case("no-such-path-in-any-script", argv=('/né😀/"\\',)),
        case("no-such-path-in-no-script", argv=("/\udcff",)),
        case("not-executable", argv=("/etc/passwd",)),
        case("not-executable-in-path", argv=("passwd",), options={"env": {"PATH": "/no:/etc"}}),
        case("nowhere-in-path", argv=("true",), options={"env": {"PATH": "/no:/etc/passwd"}}),
        case("a-folder", argv=("/usr",)),
        case("no-program", argv=("{folder}/text",)),
        case("no-interpreter", argv=("{folder}/orphan",)),
        case("a-loop", argv=("{folder}/loop",)),
        case("too-long-a-path", argv=("/" + "x" * 5000,)),
        case("too-long-a-name-in-path", argv=("x" * 5000,)),
        case("bad-cwd", options={"cwd": "/no/such"}),
        case("cwd-is-a-file", options={"cwd": "/etc/passwd"}),
        case("cwd-too-long", options={"cwd": "/" + "x" * 5000}),
        case("bad-cwd-before-bad-program", argv=("/no",), options={"cwd": "/no/such"}),
        case("hostname-too-long", options={"hostname": "x" * 65}),
        case("bad-hostname-before-bad-cwd", options={"hostname": "x" * 65, "cwd": "/no/such"}),
        case("too-many-words", argv=("{snapshot}", "x" * 200_000)),
        case("stream-is-not-open", options={"stdin": 999}),
        case("stream-is-not-open-and-bad-cwd", options={"stdin": 999, "cwd": "/no/such"}),
    ]


OF_ROOT = [*_table((), "root", ""), *_options(())]
FAILING_OF_ROOT = _failing(())
OF_A_USER = [
    *_table(("user",), "root", "root-"),
    *_table(("user",), "current", "current-"),
    *_options(("user",)),
    Case(name="nothing"),
    Case(name="nothing-but-a-cwd", options={"cwd": "/usr"}),
]
FAILING_OF_A_USER = [
    *_failing(("user",)),
    Case(name="proc-without-pid", new=("user", "mnt"), options={"mount_proc": True}),
    *(Case(name=f"{kind}-without-user", new=(kind,)) for kind in DIRECT_KINDS),
    Case(name="all-without-user", new=DIRECT_KINDS),
]


# --- the payload --------------------------------------------------------------------------------


@functools.cache
def folder() -> Path:
    """The compiled snapshot, and what is no program."""
    from needs import needs

    gcc = needs("gcc", package="gcc")
    made = Path(tempfile.mkdtemp(prefix="ways-"))
    atexit.register(shutil.rmtree, made)
    made.chmod(0o755)
    source = Path(__file__).parents[1] / "direct_cases" / "snapshot.c"
    options = ["-O1", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-static"]
    subprocess.run([gcc, *options, "-o", made / "snapshot", source], check=True)
    scripts = {
        "script": f'#!/bin/sh\nexec {made}/snapshot "$@"\n',
        "text": "neither\n",
        "orphan": "#!/no/such/interpreter\n",
    }
    for name, text in scripts.items():
        (made / name).write_text(text)
    for name in ("snapshot", *scripts):
        (made / name).chmod(0o755)
    (made / "loop").symlink_to("loop")
    return made


def _parse(data: bytes) -> Facts:
    facts = {}
    while data:
        header, _, data = data.partition(b"\n")
        name, _, size = header.decode().rpartition(" ")
        facts[name] = data[: int(size)].decode(errors="backslashreplace")
        data = data[int(size) :]
    return facts


# Of the process's own numbers and of what it has used so far; pids are compared by `_relations`.
# (FDSize: how long the table of descriptors once was, the caller's included.)
_PASSING = re.compile(r"Pid|Tgid|NS|SigQ|Vm|Rss|Huge|FDSize|Cpus_|Mems_|\w+_ctxt_switches")
# The numbers of the mounts, of their file systems and peer groups.
_MOUNT_NUMBERS = re.compile(r"^\d+ \d+ \d+:\d+ |(?<=shared:)\d+|(?<=master:)\d+", re.MULTILINE)
_STAT_FIELDS = {"tty": 7, "foreground": 8, "nice": 19, "threads": 20, "exit signal": 38}


def _status(facts: Facts) -> dict[str, str]:
    return dict(line.split(":", 1) for line in facts["status"].splitlines())


def _relations(facts: Facts, child: int) -> dict[str, object]:
    """Whose each of its numbers is."""
    status = _status(facts)
    names = {"1": "first", str(child): "its own", str(os.getpid()): "the caller's", "0": "none"}

    def named(number: str) -> str:
        return names.get(number, number)

    return {name: named(facts[name]) for name in ("pid", "parent", "session", "process group")} | {
        name: [named(n) for n in status[name].split()]
        for name in ("Pid", "NSpid", "NSpgid", "NSsid")
    }


def _comparable(facts: Facts, child: int) -> dict[str, object]:
    """The facts, without what differs between any two processes."""
    stat = facts["stat"].split()
    spaces = {
        name: "the caller's" if link == str(Path("/proc/self", name).readlink()) else "new"
        for name, link in facts.items()
        if name.startswith("ns/")
    }
    return {
        **facts,
        **_relations(facts, child),
        **spaces,
        "cwd": facts["cwd"].replace(f"/{child}", "/PID"),
        "status": {n: v for n, v in _status(facts).items() if not _PASSING.match(n)},
        "mountinfo": _MOUNT_NUMBERS.sub("", facts["mountinfo"]),
        "stat": {name: stat[number - 1] for name, number in _STAT_FIELDS.items()},
    }


# --- a caller like no other, which is not to change ---------------------------------------------


def death_signal() -> int:
    number = ctypes.c_int(-1)
    assert _libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0) == 0
    return number.value


def set_death_signal(number: int) -> None:
    assert _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) == 0


def drop_capabilities() -> None:
    """None permitted or effective; an execve by root has them all again (capabilities(7))."""
    version_3, words_of_both_sets = 0x20080522, 6
    header = (ctypes.c_uint32 * 2)(version_3, 0)
    assert _libc.capset(header, (ctypes.c_uint32 * words_of_both_sets)()) == 0


def dumpable() -> int:
    return int(_libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))


def set_dumpable(value: int) -> None:
    assert _libc.prctl(_PR_SET_DUMPABLE, value, 0, 0, 0) == 0


_IDS = (
    "Uid",
    "Gid",
    "Groups",
    "Cap",
    "SigB",
    "SigI",
    "SigC",
    "SigP",
    "Shd",
    "NoNew",
    "Seccomp",
    "NS",
    "Threads",
    "Umask",
)


def caller() -> dict[str, object]:
    """All of this process that a child which shares its memory might change."""
    status = Path("/proc/self/status").read_text().splitlines()
    links = ("cwd", "root", "exe", *(f"ns/{kind}" for kind in os.listdir("/proc/self/ns")))  # noqa: PTH208
    files = ("uid_map", "gid_map", "setgroups", "oom_score_adj", "comm", "limits", "mountinfo")
    return {
        "dumpable": dumpable(),
        "death signal": death_signal(),
        "session": (os.getsid(0), os.getpgrp()),
        "hostname": os.uname().nodename,
        "handlers": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
        "status": [line for line in status if line.startswith(_IDS)],
        **{name: str(Path("/proc/self", name).readlink()) for name in links},
        **{name: Path("/proc/self", name).read_text() for name in files},
        "descriptors": _descriptors(),
    }


def _descriptors() -> dict[str, str]:
    # nsinit's is made once and stays.
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[entry.name] = str(entry.readlink())
    return {name: link for name, link in found.items() if not link.startswith(KEPT)}


@contextlib.contextmanager
def peculiar_caller() -> Iterator[None]:
    """Signals blocked, ignored and caught, a umask, a death signal: none of them the usual."""
    with contextlib.ExitStack() as stack:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGRTMIN + 2})
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
        actions: dict[int, Any] = {
            signal.SIGHUP: signal.SIG_IGN,
            signal.SIGUSR2: lambda *_: None,
            signal.SIGRTMIN + 3: signal.SIG_IGN,
        }
        for number, action in actions.items():
            stack.callback(signal.signal, number, signal.signal(number, action))
        stack.callback(os.umask, os.umask(0o027))
        stack.callback(set_death_signal, death_signal())
        set_death_signal(signal.SIGTERM)
        yield


# --- both ways ----------------------------------------------------------------------------------


@contextlib.contextmanager
def ways_gone() -> Iterator[list[str]]:
    """Notes which way each launch in the block goes: "direct" or "stages"."""
    ways: list[str] = []
    run, run_direct = Spawn.run, Spawn.run_direct

    def watched(spawn: Spawn) -> tuple[int, int]:
        ways.append("stages")
        return run(spawn)

    def watched_direct(spawn: Spawn, *messages: bytes) -> tuple[int, int] | None:
        ways.append("direct")
        found = run_direct(spawn, *messages)
        if found is None:
            ways.pop()
        return found

    Spawn.run, Spawn.run_direct = watched, watched_direct  # type: ignore
    try:
        yield ways
    finally:
        Spawn.run, Spawn.run_direct = run, run_direct  # type: ignore


def way_of(data: BootstrapData, **options: Any) -> str:
    """Which way a launch goes; its error is raised."""
    with ways_gone() as ways:
        launch(data, Program(["/bin/true"]), **options).__exit__()
    return ways[0]


def _filled(value: Any, values: dict[str, object]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(item, values) for name, item in value.items()}
    return value.format(**values) if isinstance(value, str) and "{" in value else value


class _Surroundings:
    """The descriptors of a case: what it reports on, its streams, those it passes on."""

    def __init__(self, case: Case, stack: contextlib.ExitStack) -> None:
        self.report = os.memfd_create("report")
        stack.callback(os.close, self.report)
        spare = [_dup_high(n, stack) for n in range(3)] if case.closed else []
        for fd in map(int, case.closed):
            os.close(fd)
            stack.callback(os.dup2, spare[fd], fd)
        ends = [self._pipe_end(stack) for _ in range(4)] if case.streams else []
        names = ("stdin", "stdout", "stderr")
        chosen = (ends[int(n)] for n in case.streams)
        self.streams = dict(zip(names, chosen, strict=False))
        passed = [self._pipe_end(stack) for _ in range(case.passed)]
        self.pass_fds = [self.report, *passed[::2]]

    def _pipe_end(self, stack: contextlib.ExitStack) -> int:
        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        for end in (reader, writer):
            stack.callback(os.close, end)
        return writer

    def read_report(self) -> bytes:
        size = os.lseek(self.report, 0, os.SEEK_CUR)
        data = os.pread(self.report, size, 0)
        os.ftruncate(self.report, 0)
        os.lseek(self.report, 0, os.SEEK_SET)
        return data


def _dup_high(fd: int, stack: contextlib.ExitStack) -> int:
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100)
    stack.callback(os.close, high)
    return high


def _launch(case: Case, around: _Surroundings, trace: bool) -> Outcome:
    values = {"snapshot": folder() / "snapshot", "folder": folder(), "fd": around.report}
    argv = [_filled(word, values) for word in case.argv]
    options = {**around.streams, **_filled(case.options, values), "pass_fds": around.pass_fds}
    try:
        child = launch(message(case.new, maps=case.maps), Program(argv), trace=trace, **options)
    except BootstrapError as error:
        names = ("stage", "operation", "subject", "errno", "hint")
        return {name: getattr(error, name) for name in names}
    with child:
        return {
            "returncode": child.wait(SECONDS),
            "facts": _comparable(_parse(around.read_report()), child.pid),
        }


def _both_ways(case: Case, around: _Surroundings) -> dict[str, Any]:
    """What comes of it each way, and what of the caller is another after it went direct."""
    with ways_gone() as ways, peculiar_caller():
        before = caller()
        direct = _launch(case, around, trace=False)
        after = caller()
        stages = _launch(case, around, trace=True)
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    left = _a_child()
    return {"direct": direct, "stages": stages, "ways": ways, "changed": changed, "left": left}


def _a_child() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def both_ways(case: Case) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        return _both_ways(case, _Surroundings(case, stack))


def differences(found: dict[str, Any]) -> dict[str, tuple[object, object]]:
    """What differs between the ways: name → (direct, by the stages)."""
    direct, stages = ({**o, **o.get("facts", {})} for o in (found["direct"], found["stages"]))
    for outcome in (direct, stages):
        outcome.pop("facts", None)
    names = dict.fromkeys(itertools.chain(direct, stages))
    pairs = {name: (direct.get(name), stages.get(name)) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


# --- callers and messages that the direct way is not for ----------------------------------------


def declined_to_a_user() -> dict[str, str]:
    """Name → the way it went, or the error that it met there."""
    mine, group = os.geteuid(), os.getegid()
    own = ((0, mine, 1),)
    rows: dict[str, Callable[[], BootstrapData]] = {
        "plain": lambda: message(["user"]),
        "ranges": lambda: message(["user"], maps="auto"),
        "two-lines": lambda: message(["user"], maps=((0, mine, 1), (1, 300_000, 1))),
        "size-2": lambda: message(["user"], maps=((0, mine, 2),)),
        "another's": lambda: message(["user"], maps=((0, 300_000, 1),)),
        "time": lambda: message(["user", "time"]),
        "offsets": lambda: message(["user", "time"], time_offsets=[TimeOffset("boottime", 5)]),
        "oom": lambda: message(["user"], oom_score_adj=500),
        "setgroup": lambda: _user_namespace(own, ((0, group, 1),), setgroup=True),
        "not-rootless": lambda: _user_namespace(own, ((0, group, 1),), rootless_euid=False),
        "no-gid-map": lambda: _user_namespace(own, ()),
        "no-maps": lambda: _user_namespace((), ()),
    }
    ways = {name: _way_or_error(make) for name, make in rows.items()}
    set_dumpable(0)
    ways["not-dumpable"] = _way_or_error(rows["plain"])
    ways["not-dumpable-without-user"] = _way_or_error(message)
    ways["dumpable after"] = str(dumpable())
    set_dumpable(1)
    ways["dumpable-again"] = _way_or_error(rows["plain"])
    return ways


def _user_namespace(
    uids: Iterable[tuple[int, int, int]], gids: Iterable[tuple[int, int, int]], **fields: Any
) -> BootstrapData:
    return BootstrapData(
        clone_flags=message(["user"]).clone_flags,
        uid_mappings=tuple(IDMap(*row) for row in uids),
        gid_mappings=tuple(IDMap(*row) for row in gids),
        **{"rootless_euid": True, **fields},
    )


def _way_or_error(make: Callable[[], BootstrapData]) -> str:
    with ways_gone() as ways, contextlib.suppress(BootstrapError):
        launch(make(), Program(["/bin/true"])).__exit__()
    return ways[0]


# --- in a process of their own --------------------------------------------------------------------
# ... and a mount namespace of its own, in which nobody else mounts anything meanwhile.


def as_the_user() -> dict[str, Any]:
    """What came of all that a user does."""
    return _told(rootless.as_user(_telling("user")))


def as_root() -> dict[str, Any]:
    """What came of all that root does."""
    from needs import needs

    unshare = needs("unshare", package="util-linux")
    words = [str(unshare), "--mount", "--propagation", "private", *_telling("root")]
    return _told(subprocess.run(words, capture_output=True, text=True, timeout=300, check=False))


def _telling(who: str) -> list[str]:
    variables = [f"PYTHONPATH={launching.PYTHONPATH}", f"WAYS_FOLDER={folder()}"]
    return [
        "env",
        *variables,
        sys.executable,
        "-c",
        f"import direct_cases; direct_cases.tell({who!r})",
    ]


def _told(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def tell(who: str) -> None:
    """What the processes of their own do."""
    made = Path(os.environ.pop("WAYS_FOLDER"))
    globals()["folder"] = lambda: made
    launch(message(), Program(["/bin/true"]), trace=True).__exit__()  # what is made once is made
    cases = OF_ROOT + FAILING_OF_ROOT if who == "root" else OF_A_USER + FAILING_OF_A_USER
    declined = declined_to_a_user() if who == "user" else {}
    outcomes = {case.name: both_ways(case) for case in cases}
    json.dump({"outcomes": outcomes, "declined": declined}, sys.stdout)
