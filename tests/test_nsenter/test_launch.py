"""A process is started in new namespaces, is what was asked for, and inherits nothing else.

There is a table of cases (see launching.py), each a launch. Root starts them, and so does an
unprivileged user with and without subordinate ids. The result is read from /proc and reported by
the process.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import cgrouping
import inside
import launching
from launching import (
    KINDS,
    SECONDS,
    SLEEP,
    Case,
    Facts,
    broken,
    message,
    of_each_target,
    outcome,
)
from nsenter import idmap
from nsenter.bootstrap import BootstrapData, TimeOffset
from nsenter.errors import BootstrapError
from nsenter.launch import Program, PythonInit, launch
from nsenter.namespaces import Namespace, NamespaceType
from processes import THIS_RUN, wait_until_executed

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")

AHEAD = (("monotonic", 1000, 0), ("boottime", 100_000, 5))
# No clock may come out negative, on a machine that was started two minutes ago either.
BEHIND = (("monotonic", -60, 0), ("boottime", -60, 999_999_999))
RANGES = ((0, 100_000, 10), (10, 200_000, 20), (1000, 300_000, 5))
HOST = {"hostname": "box"}


def name_of(case: Case) -> str:
    return case.name


# --- what the kernel allows to anybody, and what to root -----------------------------------------

ANYBODY = of_each_target(
    Case(name="nothing"),
    Case(name="user", new=("user",)),
    *(Case(name=f"user-and-{kind}", new=("user", kind)) for kind in launching.ALL_BUT_USER),
    Case(name="all", new=KINDS),
    Case(name="current", new=("user",), maps="current"),
    Case(name="oom", oom_score_adj=345),
    Case(name="oom-in-all", new=KINDS, oom_score_adj=1000),
    Case(name="hostname", new=("user", "uts"), options=HOST),
    Case(name="cwd", options={"cwd": "/usr"}),
    Case(name="cwd-in-all", new=KINDS, options={"cwd": "/usr", "mount_proc": True}),
    Case(name="clocks", new=("user", "time"), offsets=AHEAD),
    Case(name="clocks-behind", new=("user", "time", "pid"), offsets=BEHIND),
    Case(name="clocks-in-all", new=KINDS, offsets=AHEAD, oom_score_adj=10, options=HOST),
)
ROOT = of_each_target(
    *(Case(name=f"new-{kind}", new=(kind,)) for kind in launching.ALL_BUT_USER),
    Case(name="all-but-user", new=launching.ALL_BUT_USER, options=HOST),
    Case(name="clocks-without-user", new=("time", "net"), offsets=AHEAD),
    Case(name="ranges", new=("user", "pid"), maps=((0, 0, 10), (10, 200_000, 20), (99, 99, 1))),
    Case(name="auto-without-subids", new=("user",), maps=((0, 0, 1),)),
)
SUBORDINATE = of_each_target(
    Case(name="auto", new=("user",), maps="auto"),
    Case(name="auto-in-all", new=KINDS, maps="auto", offsets=AHEAD, oom_score_adj=10, options=HOST),
)
ALONE = of_each_target(
    *(Case(name=f"alone-{kind}", new=(kind,)) for kind in launching.ALL_BUT_USER)
)
# Ids that are nobody's own: their user may not search the folders of this interpreter.
STRANGERS = [
    Case(name=f"strangers-{target}", new=("user", "mnt"), maps=RANGES, target=target)
    for target in ("shell", "python")
]


@as_root
@pytest.mark.parametrize("case", [*ANYBODY, *ROOT, *STRANGERS], ids=name_of)
def test_root_gets_what_it_asks_for(case: Case) -> None:
    assert broken(case, outcome(case)) == {}


@pytest.fixture(scope="module")
def with_subids() -> dict[str, Facts]:
    return launching.as_the_user([*ANYBODY, *SUBORDINATE, *ALONE, *REFUSED_TO_A_USER])


@pytest.fixture(scope="module")
def without_subids() -> dict[str, Facts]:
    return launching.as_the_user([*ANYBODY, *ALONE], subids=False)


@pytest.mark.parametrize("case", [*ANYBODY, *SUBORDINATE], ids=name_of)
def test_a_user_with_subordinate_ids_gets_what_it_asks_for(
    case: Case, with_subids: dict[str, Facts]
) -> None:
    assert broken(case, with_subids[case.name]) == {}


@pytest.mark.parametrize("case", ANYBODY, ids=name_of)
def test_a_user_without_subordinate_ids_gets_what_it_asks_for(
    case: Case, without_subids: dict[str, Facts]
) -> None:
    assert broken(case, without_subids[case.name]) == {}


@pytest.mark.parametrize("case", ALONE, ids=name_of)
def test_a_user_is_told_to_create_a_user_namespace_as_well(
    case: Case, with_subids: dict[str, Facts], without_subids: dict[str, Facts]
) -> None:
    for found in with_subids[case.name], without_subids[case.name]:
        assert found["error"]["errno"] == errno.EPERM
        assert "create a user namespace" in found["error"]["text"]


@as_root
def test_a_process_sees_itself_and_no_other_in_a_new_proc() -> None:
    case = Case(name="proc", new=("pid", "mnt"), options={"mount_proc": True})
    found = outcome(case)
    assert (found["seen"]["proc_self"], found["seen"]["proc_pids"]) == (1, [1])


# --- groups ---------------------------------------------------------------------------------------

GROUPS = """
import os
from launching import *
os.setgroups([4, 27])
for maps in None, ((0, 0, 5), (5, 100_000, 1000)):
    data = message() if maps is None else message(["user"], maps=maps)
    with launch(data, SLEEP) as child:
        print(inside.read(child.pid)["groups"])
"""


def run_python(script: str, *wrapper: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run Python code that can import this checkout and the helpers beside it."""
    return subprocess.run(
        [*wrapper, sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": launching.PYTHONPATH},
        **{"capture_output": True, "text": True, "timeout": 60, "check": False} | options,
    )


@as_root
def test_supplementary_groups_stay_outside_a_user_namespace() -> None:
    done = run_python(GROUPS)
    assert done.stdout.splitlines() == ["[4, 27]", "[]"], done.stderr


# --- environment, words, descriptors --------------------------------------------------------------


@pytest.mark.parametrize("new", [(), ("user", "pid")], ids=["nothing-new", "user-and-pid"])
def test_nothing_of_the_boot_is_left_in_the_interpreter(new: tuple[str, ...]) -> None:
    with contextlib.ExitStack() as stack:
        said, stdout = launching.pipe(stack)
        target = PythonInit("targets:surroundings", args=())
        child = stack.enter_context(
            launch(message(new), target, stdout=stdout, env={"CASE": "a=b", "EMPTY": ""})
        )
        found = ast.literal_eval(launching.read_line(said))
        assert child.wait(SECONDS) == 0
    assert found == {
        "os.environ": {"CASE": "a=b", "EMPTY": ""},
        "libc": {"LD_PRELOAD": None, "PYTHONHOME": None, "TZ": None, "CASE": "a=b"},
        "argv": ["targets:surroundings"],
        "orig_argv": ["targets:surroundings"],
        "path": [],
        "executable": "",
        "inheritable": False,
    }


def environment_of(pid: int) -> list[bytes]:
    """The kernel tells it at the end of an execve, a launch returns at its point of no return."""
    wait_until_executed(pid)
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")[:-1]


def test_without_an_environment_given_it_is_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_NSENTER_TEST", "kept\xff")
    with launch(message(["user"]), SLEEP) as child:
        found = environment_of(child.pid)
    assert sorted(found) == sorted(b"=".join(pair) for pair in os.environb.items())


def test_a_name_like_one_of_ours_can_stand_in_the_environment_of_a_program() -> None:
    env = {"LD_PRELOAD": "", "_NSENTER_FDS": "1,2", "PYTHONHOME": "/x"}
    with launch(message(["user"]), SLEEP, env=env) as child:
        found = environment_of(child.pid)
    assert found == [f"{name}={value}".encode() for name, value in env.items()]


@pytest.mark.parametrize("target", launching.TARGETS)
@pytest.mark.parametrize("new", [(), KINDS], ids=["nothing-new", "all-new"])
def test_the_descriptors_passed_and_no_others_are_inherited(
    target: str, new: tuple[str, ...]
) -> None:
    with contextlib.ExitStack() as stack:
        ends = [end for _ in range(4) for end in launching.pipe(stack)]
        for end in ends:
            os.set_inheritable(end, True)
        passed = [ends[1], ends[6]]
        low, high = stack.enter_context(socket.socket()), 700
        os.dup2(low.fileno(), high)
        stack.callback(os.close, high)
        own = inside.descriptors()
        links = {str(fd): own[str(fd)] for fd in (*passed, high)}
        with launching.reporting(message(new), target, pass_fds=[*passed, high]) as (child, _):
            found = inside.descriptors(child.pid)
    assert {n: link for n, link in found.items() if n in links} == links
    extra = found.keys() - {"0", "1", "2"} - links.keys()
    assert len(extra) == (1 if target == "python" else 0)  # the channel
    assert all(found[n].startswith("socket:") for n in extra)


TWO_STREAMS = Program(["/bin/sh", "-c", "read line; echo $line; echo oops >&2"])


def test_stdout_and_stderr_can_be_swapped() -> None:
    script = (
        "from launching import *\n"
        f"with launch(message(['user']), {TWO_STREAMS!r}, stdout=2, stderr=1) as child:\n"
        "    assert child.wait(20) == 0"
    )
    done = run_python(script, input="word\n")
    assert (done.stdout, done.stderr) == ("oops\n", "word\n")


# Which of 0, 1, 2 a caller has closed. Whatever it opens then gets these numbers.
CLOSED = """
import os, sys
from launching import *
closed = list(map(int, "{closed}"))
result = os.dup(1)
for fd in closed:
    os.close(fd)
ins, outs, errs = os.pipe(), os.pipe(), os.pipe()
os.write(ins[1], b"word\\n")
for target in [{program!r}, PythonInit("targets:leave", args=[0])]:
    streams = dict(stdin=ins[0], stdout=outs[1], stderr=errs[1])
    with launch(message(["user", "pid"]), target, **streams) as child:
        code = child.wait(20)
said = os.read(outs[0], 100), os.read(errs[0], 100)
os.write(result, repr((code, *said)).encode())
"""


@pytest.mark.parametrize("closed", ["0", "1", "2", "01", "12", "02", "012"])
def test_a_caller_may_have_its_own_streams_closed(closed: str) -> None:
    done = run_python(CLOSED.format(closed=closed, program=TWO_STREAMS))
    assert done.stdout == repr((0, b"word\n", b"oops\n")), done.stderr


@pytest.mark.parametrize("target", launching.TARGETS)
def test_signals_are_as_for_a_new_program(target: str) -> None:
    with contextlib.ExitStack() as stack:
        every = signal.valid_signals()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, every)
        stack.callback(signal.pthread_sigmask, signal.SIG_SETMASK, blocked)
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGRTMIN + 3, signal.SIGTERM):
            stack.callback(signal.signal, number, signal.signal(number, signal.SIG_IGN))
        data = message(["user"])
        payload = SLEEP if target == "program" else PythonInit("targets:echo")
        with launch(data, payload) as child:
            wait_until_executed(child.pid)
            found = inside.read(child.pid)["signals"]
    own = {signal.SIGPIPE, signal.SIGXFSZ}  # an interpreter ignores them, and catches SIGINT
    python = {"SigBlk": 0, "SigIgn": bits(own), "SigCgt": bits({signal.SIGINT})}
    assert found == (python if target == "python" else {"SigBlk": 0, "SigIgn": 0, "SigCgt": 0})


def bits(numbers: set[signal.Signals]) -> int:
    return sum(1 << (number - 1) for number in numbers)


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("new", [("user",), ("user", "pid")], ids=["user", "user-and-pid"])
@pytest.mark.parametrize(
    ("target", "returncode"),
    [
        (Program(["true"]), 0),
        (Program(["sh", "-c", "exit 7"]), 7),
        (PythonInit("targets:leave", args=[None]), 0),
        (PythonInit("targets:leave", args=[9]), 9),
        (PythonInit("targets:leave", args=["raise"]), 1),
        (PythonInit("targets:leave", args=["said"]), 1),
    ],
    ids=["true", "exit-7", "none", "nine", "raises", "text"],
)
def test_the_exit_status_is_the_payloads(
    target: Program | PythonInit, returncode: int, new: tuple[str, ...]
) -> None:
    with Path(os.devnull).open("w") as null:
        child = launch(message(new), target, stderr=null.fileno())
    with child:
        assert child.returncode is None
        assert child.wait(SECONDS) == returncode
        assert child.poll() == child.wait(0) == child.returncode == returncode


@pytest.mark.parametrize(
    "target",
    [Program(["sh", "-c", "kill -KILL $$"]), PythonInit("targets:leave", args=["SIGKILL"])],
    ids=launching.TARGETS,
)
def test_a_signal_that_ends_it_is_a_negative_returncode(target: Program | PythonInit) -> None:
    with launch(message(["user"]), target) as child:
        assert child.wait(SECONDS) == -signal.SIGKILL


def test_a_child_is_signalled_and_waited_for() -> None:
    with launch(message(["user"]), SLEEP) as child:
        assert child.poll() is None
        with pytest.raises(TimeoutError):
            child.wait(0.01)
        child.terminate()
        assert child.wait(SECONDS) == -signal.SIGTERM
        child.kill()  # and it is gone: nothing happens
    with launch(message(["user", "pid"]), SLEEP) as child:
        pid = child.pid
    assert child.returncode == -signal.SIGKILL
    assert not Path(f"/proc/{pid}").exists()


# --- a PythonInit ---------------------------------------------------------------------------------

PLAIN = (None, True, -1, 2**70, 1.5, 1j, "é\0", b"\xff", (1, [2]), {"a": {3}}, frozenset({4}))


@pytest.mark.parametrize("new", [(), KINDS], ids=["nothing-new", "all-new"])
def test_its_arguments_are_plain_data(new: tuple[str, ...]) -> None:
    with launch(message(new), PythonInit("targets:answer", args=PLAIN)) as child:
        assert child.channel is not None
        with child.channel.makefile("rb") as channel:
            said = channel.read()
        assert child.wait(SECONDS) == 0
    words = ["targets:answer", *map(str, PLAIN)]
    assert said.decode() == repr((PLAIN, words))


def test_its_channel_works_both_ways() -> None:
    with launch(message(["user", "pid"]), PythonInit("targets:echo")) as child:
        assert child.channel is not None
        for sent in b"word", b"x" * 50_000:
            child.channel.sendall(sent)
            received = b""
            while len(received) < len(sent):
                received += child.channel.recv(1 << 16)
            assert received == sent.upper()
        child.channel.shutdown(socket.SHUT_WR)
        assert child.channel.recv(1) == b""
        assert child.wait(SECONDS) == 0


def test_a_program_has_no_channel() -> None:
    with launch(message(["user"]), SLEEP) as child:
        assert child.channel is None


def test_a_module_without_a_function_is_run_as_main() -> None:
    with contextlib.ExitStack() as stack:
        stdin, release = launching.pipe(stack)
        said, stdout = launching.pipe(stack)
        target = PythonInit("inside", args=["-x", 3])
        child = stack.enter_context(
            launch(message(["user"]), target, stdin=stdin, stdout=stdout, env={})
        )
        os.close(stdin)
        assert ast.literal_eval(launching.read_line(said))["argv"] == ["inside", "-x", "3"]
        os.close(release)
        assert child.wait(SECONDS) == 0


def test_extensions_and_modules_travel_when_they_are_named() -> None:
    target = PythonInit("targets:dumpable", extensions=["_ctypes", "_struct"])
    with launch(message(["user", "pid", "mnt"]), target) as child:
        assert child.wait(SECONDS) == 1  # nothing was joined: as any process


def test_a_target_may_import_nothing_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bare.py").write_text("def main(channel): return 5\n")
    monkeypatch.syspath_prepend(tmp_path)
    with launch(message(["user"]), PythonInit("bare:main")) as child:
        assert child.wait(SECONDS) == 5


def test_what_does_not_travel_cannot_be_imported_later() -> None:
    with contextlib.ExitStack() as stack:
        said, stderr = launching.pipe(stack)
        target = PythonInit("targets:import_late", args=["colorsys"])
        child = stack.enter_context(launch(message(["user"]), target, stderr=stderr))
        assert child.wait(SECONDS) == 1
        text = os.read(said, 1 << 16).decode()
    assert (
        "no module named 'colorsys' in the module archive: name it in PythonInit(modules=" in text
    )
    with launch(message(["user"]), PythonInit(target.target, target.args, ["colorsys"])) as child:
        assert child.wait(SECONDS) == 0


# --- cgroups --------------------------------------------------------------------------------------


@pytest.fixture
def cgroup() -> Iterator[tuple[str, int]]:
    """A new cgroup v2 directory: its name below the mount, and a descriptor of it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    mount = next(Path(line.split()[4]) for line in lines if " - cgroup2 " in line)
    folder = mount / f"nsenter-test-{THIS_RUN}"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/{folder.name}", fd
    finally:
        os.close(fd)
        cgrouping.remove(folder)


@as_root
@pytest.mark.parametrize("target", launching.TARGETS)
@pytest.mark.parametrize("new", [(), ("cgroup",), ("time",), ("cgroup", "user", "time")], ids=str)
def test_it_starts_in_the_cgroup_given(
    target: str, new: tuple[str, ...], cgroup: tuple[str, int]
) -> None:
    path, fd = cgroup
    # Offsets take the three stages; without them one clone3 does it all.
    offsets = AHEAD if "time" in new else ()
    case = Case(name="cgroup", new=new, offsets=offsets, target=target, options={"cgroup": fd})
    found = outcome(case)
    assert broken(case, found) == {}
    assert found["state"]["cgroup"] == path
    assert found["seen"]["cgroup"] == ("/" if "cgroup" in new else path)


@as_root
def test_the_descriptor_of_a_cgroup_may_have_a_low_number(cgroup: tuple[str, int]) -> None:
    """As where the caller has its own stdin closed: in the child 0 is another one."""
    path, fd = cgroup
    stdin = os.dup(0)
    try:
        os.dup2(fd, 0)
        with launch(message(["user"]), SLEEP, stdin=stdin, cgroup=0) as child:
            assert inside.read(child.pid)["cgroup"] == path
    finally:
        os.dup2(stdin, 0)
        os.close(stdin)


# --- what is refused before anything is started ---------------------------------------------------


@dataclass(frozen=True)
class Mistake:
    name: str
    error: type[Exception] | tuple[type[Exception], ...]
    match: str
    target: Program | PythonInit = SLEEP
    options: Callable[[], dict[str, Any]] = dict
    new: tuple[str, ...] = ("user", "uts", "mnt")


MISTAKES = [
    Mistake("argv-text", TypeError, "sequence of strings", Program("sleep 1")),
    Mistake("argv-empty", ValueError, "no program", Program([])),
    Mistake("argv-empty-word", ValueError, "its name is empty", Program([""])),
    Mistake("argv-nul", ValueError, "NUL", Program(["sleep", "1\0"])),
    Mistake("env-equals", ValueError, "'='|=", options=lambda: {"env": {"A=B": ""}}),
    Mistake("env-empty", ValueError, "env", options=lambda: {"env": {"": "x"}}),
    Mistake("env-nul", ValueError, "NUL", options=lambda: {"env": {"A": "x\0"}}),
    Mistake("cwd-empty", ValueError, "cwd ''", options=lambda: {"cwd": ""}),
    Mistake("cwd-nul", ValueError, "cwd .*NUL", options=lambda: {"cwd": "/\0"}),
    Mistake("hostname-empty", ValueError, "hostname ''", options=lambda: {"hostname": ""}),
    Mistake("hostname-without-uts", ValueError, "uts", options=lambda: HOST, new=("user", "net")),
    Mistake("proc-without-mnt", ValueError, "mnt", options=lambda: {"mount_proc": True}, new=()),
    Mistake("hostname-type", TypeError, "str", options=lambda: {"hostname": 3}),
    Mistake("hostname-long", ValueError, "HOSTNAME", options=lambda: {"hostname": "x" * 70_000}),
    Mistake("timeout-nan", ValueError, ".", options=lambda: {"timeout": float("nan")}),
    Mistake("timeout-negative", ValueError, "timeout", options=lambda: {"timeout": -1}),
    Mistake("cgroup-negative", (ValueError, OSError), ".", options=lambda: {"cgroup": -1}),
    Mistake("cgroup-closed", OSError, "Bad file descriptor", options=lambda: {"cgroup": 999}),
    Mistake("pass-fds-closed", OSError, "Bad file descriptor", options=lambda: {"pass_fds": [999]}),
    Mistake("pass-fds-negative", (ValueError, OSError), ".", options=lambda: {"pass_fds": [-1]}),
    Mistake("stdin-closed", OSError, "Bad file descriptor", options=lambda: {"stdin": 999}),
    Mistake("stdout-negative", (ValueError, OSError), ".", options=lambda: {"stdout": -1}),
    Mistake("args-object", ValueError, "plain data", PythonInit("targets:leave", [object()])),
    Mistake("module-missing", ModuleNotFoundError, "'no_such'", PythonInit("no_such:main")),
    Mistake("module-missing-2", ModuleNotFoundError, "x", PythonInit("inside", (), ["x_y_z"])),
    Mistake("extension-missing", ValueError, "'no'", PythonInit("inside", extensions=["no"])),
    Mistake("target-empty", ModuleNotFoundError, "''", PythonInit("")),
    Mistake("target-no-module", ModuleNotFoundError, "''", PythonInit(":main")),
]  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_bad_argument_is_refused_and_nothing_is_started(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr("nsenter.launch.Handshake.run", lambda *args: started.append(args))
    with pytest.raises(mistake.error, match=mistake.match):
        launch(message(mistake.new), mistake.target, **mistake.options()).close()
    assert started == []


# --- what fails on the way ------------------------------------------------------------------------


@dataclass(frozen=True)
class Failure:
    """A launch that fails, and the error: stage, operation, subject, errno and part of a hint."""

    name: str
    data: Callable[[], BootstrapData]
    expected: tuple[str, str, str, int]
    hint: str = ""
    target: Program | PythonInit = SLEEP
    options: tuple[tuple[str, Any], ...] = ()


def joined(kind: str, path: str) -> Callable[[], BootstrapData]:
    return lambda: message((), [Namespace(NamespaceType.parse(kind), path)])


def new(*kinds: str, **fields: Any) -> Callable[[], BootstrapData]:
    return lambda: message(kinds, **fields)


FAILURES = [
    Failure(
        "no-such-program", new("user"), ("init", "execve", "no-such-program", errno.ENOENT),
        "is not in the root", Program(["no-such-program"]),
    ),
    Failure(
        "no-such-path", new("user"), ("init", "execve", "/no/such", errno.ENOENT),
        "is not in the root", Program(["/no/such"]),
    ),
    Failure(
        "empty-path", new("user"), ("init", "execve", "sleep", errno.ENOENT),
        "is not in the root", SLEEP, (("env", {"PATH": "/no/such:/usr/share"}),),
    ),
    Failure(
        "not-executable", new("user"), ("init", "execve", "/etc/passwd", errno.EACCES),
        "may not execute it", Program(["/etc/passwd"]),
    ),
    Failure(
        "bad-cwd", new("user"), ("init", "chdir", "/no/such", errno.ENOENT),
        options=(("cwd", "/no/such"),),
    ),
    Failure(
        "cwd-is-a-file", new("user", "mnt"), ("init", "chdir", "/etc/passwd", errno.ENOTDIR),
        options=(("cwd", "/etc/passwd"),),
    ),
    Failure(
        "bad-cwd-python", new("user"), ("init", "chdir", "/no/such", errno.ENOENT),
        target=PythonInit("targets:echo"), options=(("cwd", "/no/such"),),
    ),
    Failure(
        "hostname-too-long", new("user", "uts"), ("init", "sethostname", "x" * 65, errno.EINVAL),
        options=(("hostname", "x" * 65),),
    ),
    Failure(
        "proc-without-pid", new("user", "mnt"), ("init", "mount", "proc on /proc", errno.EPERM),
        options=(("mount_proc", True),),
    ),
    Failure(
        "no-such-namespace", joined("net", "/no/such"),
        ("child", "open", "net:/no/such", errno.ENOENT), "path is wrong",
    ),
    Failure(
        "not-a-namespace", joined("net", "/etc/passwd"),
        ("child", "setns", "net:/etc/passwd", errno.EINVAL),
    ),
    Failure(
        "another-kind", joined("net", "/proc/self/ns/ipc"),
        ("child", "setns", "net:/proc/self/ns/ipc", errno.EINVAL), "another type",
    ),
    Failure(
        "own-user-namespace", joined("user", "/proc/self/ns/user"),
        ("child", "setns", "user:/proc/self/ns/user", errno.EINVAL), "own user namespace",
    ),
    Failure(
        "no-such-function", new("user"),
        ("init", "import", "targets:no: module 'targets' has no attribute 'no'", errno.ENOENT),
        target=PythonInit("targets:no"),
    ),
    Failure(
        "no-such-function-in-any-script", new("user"),
        ("init", "import", "targets:né😀: module 'targets' has no attribute 'né😀'", errno.ENOENT),
        target=PythonInit("targets:né😀"),
    ),
    Failure(
        "no-such-path-in-any-script", new("user"),
        ("init", "execve", "/né😀/\"\\", errno.ENOENT), target=Program(["/né😀/\"\\"]),
    ),
    Failure(
        "module-that-imports-what-stays", new("user", "pid"),
        ("init", "import", "imports_late:main: no module named 'colorsys' in the module archive: "
         "name it in PythonInit(modules=…), a C extension in PythonInit(extensions=…)",
         errno.ENOENT),
        "PythonInit(modules=", PythonInit("imports_late:main"),
    ),
]  # fmt: skip


IMPORTS_LATE = """
from __future__ import annotations
__import__("colorsys")
def main(channel): pass
"""


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_a_failure_names_stage_operation_subject_and_errno(
    failure: Failure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imports_late.py").write_text(IMPORTS_LATE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BootstrapError) as caught:
        launch(failure.data(), failure.target, **dict(failure.options))
    error = caught.value
    assert (error.stage, error.operation, error.subject, error.errno) == failure.expected
    assert failure.hint in error.hint
    stage, operation, subject, number = failure.expected
    hint = f" ({error.hint})" if error.hint else ""
    assert str(error) == f"{stage}: {operation} {subject}: {os.strerror(number)}{hint}"
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.hint, copy.errno) == (str(error), error.hint, error.errno)


def test_a_process_that_has_ended_cannot_be_joined() -> None:
    with launch(message(["user", "net"]), SLEEP) as child:
        by_path = Namespace.from_pid(NamespaceType.NEWNET, child.pid)
        pidfd = os.dup(child.pidfd)
    try:
        with pytest.raises(BootstrapError, match="the process has ended") as caught:
            launch(message((), [by_path]), SLEEP)
        assert caught.value.errno == errno.ENOENT
        by_pidfd = Namespace.from_fd(NamespaceType.NEWNET, pidfd)
        with pytest.raises(BootstrapError, match="process of the pidfd has ended") as caught:
            launch(message((), [by_pidfd]), SLEEP)
        assert caught.value.errno == errno.ESRCH
    finally:
        os.close(pidfd)


REFUSED_TO_A_USER = [
    Case(name="oom-lowered", oom_score_adj=-1),
    Case(name="foreign-ids", new=("user",), maps=((0, 0, 2),)),
]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "oom-lowered",
            "parent: write /proc/self/oom_score_adj: Permission denied (it belongs to another",
        ),
        ("foreign-ids", "parent: run /usr/bin/newuidmap: exit status 1: newuidmap: uid range"),
    ],
)
def test_a_user_is_told_what_is_refused(
    name: str, text: str, with_subids: dict[str, Facts]
) -> None:
    assert with_subids[name]["error"]["text"].startswith(text)


# --- time -----------------------------------------------------------------------------------------


@as_root
@pytest.mark.parametrize("target", launching.TARGETS)
@pytest.mark.parametrize(
    ("offsets", "stages"),
    [((), {"launcher", "parent", "init"}), (AHEAD, {"launcher", "parent", "child", "init"})],
    ids=["one-clone", "three-stages"],
)
def test_a_trace_tells_when_each_stage_came_where(
    target: str, offsets: tuple[tuple[str, int, int], ...], stages: set[str]
) -> None:
    before = time.time_ns()
    clocks = [TimeOffset(*offset) for offset in offsets]
    data = message(["user", "time"], time_offsets=clocks)
    with launching.reporting(data, target, trace=True) as (child, _):
        after = time.time_ns()
    points = [(point.stage, point.point) for point in child.trace]
    assert {stage for stage, _ in points} == stages
    assert points[0] == ("launcher", "spawn")
    assert ("init", "exec" if target == "program" else "boot") in points
    assert all(before <= point.ns <= after for point in child.trace)
    for stage in stages:  # two stages may overtake each other on their way here
        times = [point.ns for point in child.trace if point.stage == stage]
        assert times == sorted(times)


def test_without_a_trace_asked_for_there_is_none() -> None:
    with launch(message(["user"]), SLEEP) as child:
        assert child.trace == ()


@pytest.mark.parametrize("target", [SLEEP, PythonInit("targets:echo")], ids=launching.TARGETS)
def test_a_start_that_hangs_is_ended_at_its_time(
    target: Program | PythonInit, tmp_path: Path
) -> None:
    fifo = tmp_path / "net"  # to open it waits for a writer
    os.mkfifo(fifo)
    began = time.monotonic()
    with pytest.raises(BootstrapError) as caught:
        launch(joined("net", str(fifo))(), target, timeout=0.3)
    assert caught.value.errno == errno.ETIMEDOUT
    assert time.monotonic() - began < SECONDS


def test_the_callers_own_maps_are_made_by_name() -> None:
    """What the cases call "root" is what a caller writes by hand."""
    ids = idmap.map_root()
    assert message(["user"]).uid_mappings == ids.uid
