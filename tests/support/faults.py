"""Faults, and what is left after them: the helpers of test_faults.py and test_malformed_stub.py.

As a script (an unprivileged user runs it, see `tool_outcomes`) it tries out mapping tools that
misbehave, and prints what came of each in JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import dataclasses
import functools
import itertools
import json
import os
import random
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from links import KEPT
from nsenter.bootstrap import BootstrapData, TimeOffset, bootstrap_data
from nsenter.errors import BootstrapError
from nsenter.idmap import IDMap
from nsenter.launch import Program, PythonInit, launch, nsinit_path
from nsenter.namespaces import Namespace, Namespaces, NamespaceType
from processes import children_of, links_of, name_of, runs, stat_fields
from reference import KIND_FLAGS

ROOT = Path(__file__).resolve().parents[2]
# Guards against hanging, in seconds. What takes milliseconds comes within the first on any machine.
# What a test makes wait by itself waits for the second, so that the two cannot be confused.
AT_ONCE = 20.0
NEVER = 120.0
TRUE = Program(["/bin/true"])
SLEEP = Program(["/bin/sleep", "1000"])
PYTHON_TRUE = PythonInit("nsenter._inside.pid1:main", TRUE.argv)
PYTHON_SLEEP = PythonInit("nsenter._inside.pid1:main", SLEEP.argv)

MAPS = (IDMap(0, 0, 1000),)
KINDS = tuple(KIND_FLAGS)
STAGES = {1: ("init",), 2: ("parent", "init"), 3: ("parent", "child", "init")}


def flags(*kinds: str) -> int:
    return sum(KIND_FLAGS[kind] for kind in kinds)


def direct() -> BootstrapData:
    """What takes no stage, for a Program: every kind new that may be, one's own ids alone."""
    return BootstrapData(
        clone_flags=flags(*KINDS) - flags("time"),
        uid_mappings=(IDMap(0, os.geteuid(), 1),),
        gid_mappings=(IDMap(0, os.getegid(), 1),),
        rootless_euid=True,
    )


def mapped() -> BootstrapData:
    """The same with maps that the caller writes while the child waits, and a new clock."""
    return BootstrapData(
        clone_flags=flags(*KINDS),
        uid_mappings=MAPS,
        gid_mappings=MAPS,
        time_offsets=(TimeOffset("monotonic", 100),),
    )


def one_clone() -> BootstrapData:
    """Every kind of namespace new: stage 0 makes stage 2 with one call, where we launch.

    It takes the stages for its oom_score_adj.
    """
    return BootstrapData(
        clone_flags=flags(*KINDS), uid_mappings=MAPS, gid_mappings=MAPS, oom_score_adj=0
    )


def three_stages() -> BootstrapData:
    """Some joined (this process's own), a new user namespace and others, and time offsets."""
    own = f"/proc/{os.getpid()}/ns"
    return BootstrapData(
        clone_flags=flags("user", "pid", "mnt", "cgroup", "time"),
        namespace_paths=tuple(
            Namespace(kind, f"{own}/{kind.ns_name()}")
            for kind in (NamespaceType.NEWNET, NamespaceType.NEWIPC, NamespaceType.NEWUTS)
        ),
        uid_mappings=MAPS,
        gid_mappings=MAPS,
        oom_score_adj=500,
        time_offsets=(TimeOffset("monotonic", 100),),
    )


# --- what is left --------------------------------------------------------------------------------


def descriptors() -> dict[int, str]:
    """The open descriptors of this process and what they are, without the listing's own."""
    return links_of()


def first_child() -> str:
    """A child of this process, a zombie or not; "" where there is none at all."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return ""
    if ended:
        return f"zombie {ended.si_pid} (status {ended.si_status})"
    return f"process {child_pids() or 'unknown'}"


def child_pids() -> list[int]:
    return sorted(children_of())


class Life:
    """Tells whether a process lives that was given `fd`, be it an orphan of an orphan.

    `fd` is the write end of a pipe; what inherits it keeps it open up to its end.
    """

    def __init__(self) -> None:
        self._reader, self.fd = os.pipe()

    def __enter__(self) -> Life:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.let_go()
        os.close(self._reader)

    def let_go(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def ends_within(self, seconds: float) -> bool:
        self.let_go()
        return hung_up(self._reader, seconds)


def hung_up(fd: int, seconds: float) -> bool:
    """Whether the last writer of a pipe goes away in time; what it wrote is not looked at."""
    poller = select.poll()
    poller.register(fd, 0)
    return bool(poller.poll(seconds * 1000))


@contextlib.contextmanager
def nothing_left(
    problems: list[str], what: object = "", *, seconds: float = AT_ONCE
) -> Iterator[Life]:
    """Notes what the block leaves behind: processes anywhere, zombies, descriptors.

    What is started in the block has to be given the Life's fd. With no process and no
    descriptor (and no mount, which conftest.py sees to) no namespace is left either;
    `Census` counts them besides.
    """
    before = descriptors()
    with Life() as life:
        yield life
        if not life.ends_within(seconds):
            problems.append(f"{what}: a process lives on: children {child_pids()}")
    if left := first_child():
        problems.append(f"{what}: left behind: {left}")
        kill_children()
    after = {fd: link for fd, link in descriptors().items() if not link.startswith(KEPT)}
    if opened := after.items() - before.items():
        problems.append(f"{what}: descriptors left open: {sorted(opened)}")
        for fd, _ in opened:
            os.close(fd)


def living_children() -> list[str]:
    """The names of the children that are no zombies."""
    return [name_of(pid) for pid in child_pids() if runs(pid)]


def kill_children() -> None:
    for pid in child_pids():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, 0):
            pass


# --- a user namespace of our own, in which namespaces can be counted -----------------------------

_OWN_KINDS = ("net", "ipc", "uts")  # and user, which is its parent's
_MANY = 10_000

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_DUMPABLE = 4


def fork() -> int:
    """As os.fork, also where another test has left threads; what runs then uses none of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_a_machine_of_our_own(job: Callable[[], None]) -> None:
    """Run `job` in a fork that has user, net, ipc and uts namespaces of its own.

    There the kernel counts its namespaces and nobody else's, and it may set the limits. A
    failure of the job is an AssertionError here.
    """
    reader, writer = os.pipe()
    go_reader, go_writer = os.pipe()
    pid = fork()
    if pid == 0:
        _run_in_own_namespaces(job, go_reader, writer)
    os.close(writer)
    os.close(go_reader)
    with contextlib.suppress(OSError, TimeoutError):
        _await_user_namespace(pid)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{pid}/{name}").write_text("0 0 1000000\n")
    os.write(go_writer, b"g")
    os.close(go_writer)
    with os.fdopen(reader, encoding="utf-8") as said:
        failure = said.read()
    _, status = os.waitpid(pid, 0)
    assert not failure and status == 0, f"{failure or 'ended'} (status {status:#x})"


def _run_in_own_namespaces(job: Callable[[], None], go: int, writer: int) -> None:
    said = ""
    try:
        unshare(flags("user", *_OWN_KINDS))
        os.read(go, 1)
        os.close(go)
        os.setgroups([])
        job()
    except BaseException as error:
        said = str(error) if isinstance(error, AssertionError) else traceback.format_exc()
    os.write(writer, said.encode())
    os._exit(bool(said))


def unshare(bits: int) -> None:
    if _libc.unshare(bits) != 0:
        raise OSError(ctypes.get_errno(), f"unshare {bits:#x}")


def set_dumpable() -> None:
    """Again: a process that changes its ids is not, until it executes another program."""
    assert _libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0) == 0


def _await_user_namespace(pid: int) -> None:
    ours, its = Path("/proc/self/ns/user").readlink(), Path(f"/proc/{pid}/ns/user")
    deadline = time.monotonic() + AT_ONCE
    while its.readlink() == ours:
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.0005)


class Census:
    """Shows that no namespace is left in a machine of our own, by the kernel's own count.

    With a limit (/proc/sys/user/max_*_namespaces) of just one more than the machine itself has,
    one more can be made only if nothing is left of all that was made before.
    """

    def __init__(self, settle: float = NEVER) -> None:
        self._settle = settle  # seconds; the kernel clears namespaces away in its own time

    def left(self) -> dict[str, BootstrapError]:
        """The kinds of which some are left, and what one more of them said."""
        tried = {kind: self._settled(kind, 1 + (kind in _OWN_KINDS)) for kind in KINDS}
        return {kind: error for kind, error in tried.items() if error}

    def _settled(self, kind: str, limit: int) -> BootstrapError | None:
        deadline = time.monotonic() + self._settle
        while error := self._refused(kind, limit):
            if time.monotonic() > deadline:
                break
            run_on_every_cpu()
            time.sleep(0.02)
        return error

    def _refused(self, kind: str, limit: int) -> BootstrapError | None:
        sysctl = Path(f"/proc/sys/user/max_{kind}_namespaces")
        sysctl.write_text(str(limit))
        try:
            with launch(_only(kind), TRUE) as child:
                assert child.wait(NEVER) == 0
        except BootstrapError as error:
            return error
        finally:
            sysctl.write_text(str(_MANY))
        return None


def run_on_every_cpu() -> None:
    """A CPU that idles keeps the memory of what ran on it last, and with that its user namespace.

    It lets go when a process runs there again (the kernel's lazy TLB, `mm_struct.user_ns`).
    """
    cpus = os.sched_getaffinity(0)
    for cpu in cpus:
        os.sched_setaffinity(0, {cpu})
    os.sched_setaffinity(0, cpus)


def _only(kind: str) -> BootstrapData:
    maps = MAPS if kind == "user" else ()
    return BootstrapData(clone_flags=flags(kind), uid_mappings=maps, gid_mappings=maps)


def counted(job: Callable[[], list[str]]) -> None:
    """Run a job that returns problems in a machine of our own, and count namespaces after it."""

    def run() -> None:
        launch(one_clone(), PYTHON_TRUE).__exit__()  # what is made once is made now
        launch(one_clone(), TRUE).__exit__()
        problems = job()
        for kind, error in Census().left().items():
            problems.append(f"{kind} namespaces are left: {error}")
        assert not problems, report(problems)

    in_a_machine_of_our_own(run)


def report(problems: list[str]) -> str:
    shown = problems[:25]
    return "\n".join([f"{len(problems)} problem(s):", *shown])


# --- a signal at one exact step ------------------------------------------------------------------


@functools.cache
def killer() -> Path:
    """The tracer, compiled."""
    from needs import needs

    gcc = needs("gcc", package="gcc")
    folder = tempfile.mkdtemp(prefix="faults-")
    atexit.register(shutil.rmtree, folder)
    program = Path(folder) / "killer"
    source = ROOT / "tests" / "faults" / "killer.c"
    subprocess.run(
        [gcc, "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", program, source], check=True
    )
    return program


SYS_CLONE, SYS_EXECVE, SYS_EXECVEAT, SYS_EXIT_GROUP, SYS_CLONE3 = (
    (56, 59, 322, 231, 435) if os.uname().machine == "x86_64" else (220, 221, 281, 94, 435)
)


@dataclass(frozen=True)
class Blow:
    """A signal to the process that is created as the `which`-th from now, at its `nth` step.

    Steps are counted from the first system call number `first_call` on; -1: from the start.
    The `victim` may be "root" instead, what makes these processes: it is dead before the step is.
    """

    which: int
    nth: int
    signal: int = signal.SIGKILL
    first_call: int = -1
    victim: str = "itself"


class Strike:
    """Deals a blow to what a thread starts in the block; `hit` tells then where, if it did."""

    def __init__(self, blow: Blow, thread: int | None = None) -> None:
        words = (thread or threading.get_native_id(), blow.which, blow.nth)
        self._words = [*words, int(blow.signal), blow.first_call, blow.victim]
        self.hit: int | None = None
        self.steps = 0

    def __enter__(self) -> Strike:
        self._tracer = subprocess.Popen(
            [killer(), *map(str, self._words)], stdout=subprocess.PIPE, text=True
        )
        assert self._tracer.stdout is not None
        assert self._tracer.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            said, _ = self._tracer.communicate(timeout=AT_ONCE)
        except subprocess.TimeoutExpired:  # there was no such process
            self._tracer.kill()
            said, _ = self._tracer.communicate()
        word, _, number = said.partition(" ")
        if word == "hit":
            self.hit = int(number)
        elif word == "passed":
            self.steps = int(number)


@dataclass(frozen=True)
class Outcome:
    """What came of a launch."""

    error: BootstrapError | None
    returncode: int | None
    seconds: float

    def __str__(self) -> str:
        came = f"{self.error}" if self.error else f"a child that returned {self.returncode}"
        return f"{came} after {self.seconds * 1000:.0f} ms"


def outcome_of(
    data: BootstrapData, target: Program | PythonInit, life: Life, **options: Any
) -> Outcome:
    """Launch it, and wait for what was launched."""
    started = time.monotonic()
    try:
        with launch(data, target, stdin=life.fd, **options) as child:
            seconds = time.monotonic() - started
            return Outcome(None, child.wait(NEVER), seconds)
    except BootstrapError as error:
        return Outcome(error, None, time.monotonic() - started)


def names_stage(error: BootstrapError, stage: str) -> bool:
    """Whether the error says that it was this stage which ended."""
    return (error.stage == stage and "killed by SIGKILL" in error.subject) or (
        f"({stage}) ended early" in error.subject
    )


def kill_at_every_step(
    make: Callable[[], BootstrapData],
    target: Program | PythonInit,
    which: int,
    stages: tuple[str, ...],
    first_call: int = -1,
) -> list[str]:
    """Launch as often as stage `which` has steps, and kill it at each in turn."""
    problems: list[str] = []
    taken_over = False
    for nth in itertools.count(1):
        what = f"{stages[which]} killed at step {nth}"
        blow = Blow(which, nth, first_call=first_call)
        with nothing_left(problems, what) as life, Strike(blow) as strike:
            outcome = outcome_of(make(), target, life)
        if strike.hit is None:
            if outcome.error or outcome.returncode != 0:
                problems.append(f"{stages[which]} not killed, and yet: {outcome}")
            assert nth > 5, f"{what}: there are no steps at all: {outcome}"
            return problems
        what = f"{what} (call {strike.hit})"
        if outcome.seconds > AT_ONCE:
            problems.append(f"{what}: late: {outcome}")
        if outcome.error is None:
            taken_over = True
            expected = -signal.SIGKILL if stages[which] == "init" else 0
            if outcome.returncode != expected:
                problems.append(f"{what}: expected {expected}: {outcome}")
        elif taken_over:
            problems.append(f"{what}: an error, though a step before there was none: {outcome}")
        elif not names_stage(outcome.error, stages[which]):
            problems.append(f"{what}: the stage is not named: {outcome}")
    raise AssertionError("unreachable")


def resident_kib() -> int:
    """How much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() // 1024


def step_count(make: Callable[[], BootstrapData], which: int, first_call: int) -> int:
    with (
        Life() as life,
        Strike(Blow(which, 1_000_000, first_call=first_call)) as strike,
    ):
        outcome_of(make(), TRUE, life)
    return strike.steps


# --- a signal at a random moment -----------------------------------------------------------------


class RandomKill(threading.Thread):
    """Kills a random child of this process after a random delay of at most `longest` seconds."""

    def __init__(self, dice: random.Random, longest: float) -> None:
        super().__init__()
        self._delay = dice.uniform(0, longest)
        self._dice = dice
        self.killed: int | None = None

    def run(self) -> None:
        time.sleep(self._delay)
        for pid in self._dice.sample(pids := child_pids(), len(pids)):
            with contextlib.suppress(OSError):
                pidfd = os.pidfd_open(pid)
                try:
                    # Still our child, so the pidfd is its and not a successor's.
                    if pid in child_pids():
                        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                        self.killed = pid
                        return
                finally:
                    os.close(pidfd)


def _launch_seconds(make: Callable[[], BootstrapData]) -> float:
    """How long a launch takes on this machine, as it is now."""
    times = []
    for _ in range(5):
        started = time.monotonic()
        with launch(make(), SLEEP):
            times.append(time.monotonic() - started)
    return min(times)


def kill_at_random(make: Callable[[], BootstrapData], times: int, seed: int) -> list[str]:
    """So many launches in which a kill has hit; the payload goes on until it is killed."""
    problems: list[str] = []
    dice = random.Random(seed)
    longest = 1.5 * _launch_seconds(make)
    hits = 0
    for attempt in itertools.count():
        if hits == times:
            return problems
        assert attempt < 10 * times, f"{hits} of {attempt} kills found a process"
        kill = RandomKill(dice, longest)
        with nothing_left(problems, f"kill {hits} of seed {seed}") as life:
            kill.start()
            started = time.monotonic()
            try:
                with launch(make(), SLEEP, stdin=life.fd) as child:
                    seconds = time.monotonic() - started
                    kill.join()
                    if kill.killed == child.pid and child.wait(NEVER) != -signal.SIGKILL:
                        problems.append(f"{attempt}: the payload was killed, and yet {child}")
            except BootstrapError as error:
                seconds = time.monotonic() - started
                kill.join()
                if not any(names_stage(error, stage) for stage in STAGES[3]):
                    problems.append(f"{attempt}: no stage is named: {error}")
            if seconds > AT_ONCE:
                problems.append(f"{attempt}: late: {seconds:.3f} s")
        hits += kill.killed is not None
    raise AssertionError("unreachable")


# --- the launcher itself is killed ---------------------------------------------------------------


@contextlib.contextmanager
def adopting_orphans() -> Iterator[None]:
    """What loses its parent becomes our child in the block, and so can be found."""
    set_subreaper = 36
    assert _libc.prctl(set_subreaper, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        _libc.prctl(set_subreaper, 0, 0, 0, 0)


def fork_launcher(
    data: BootstrapData, target: Program | PythonInit, life: Life, go: int, returned: int
) -> int:
    """A process that launches when `go` can be read, says so on `returned`, and stays."""
    pid = fork()
    if pid:
        return pid
    try:
        os.read(go, 1)
        launch(data, target, stdin=life.fd)
        os.write(returned, b"r")
        time.sleep(NEVER)
    finally:
        os._exit(0)


@dataclass
class Launcher:
    """A launcher that was killed, or was not.

    Attributes:
        hit: the system call at whose entry; None: it was not.
        returned: whether its launch() had returned.
        survived: whether its payload ran on.
    """

    hit: int | None
    returned: bool
    survived: bool


def strike_launcher(make: Callable[[], BootstrapData], blow: Blow, problems: list[str]) -> Launcher:
    """A launcher is started that is to be killed by the blow, and all that is left of it."""
    what = f"launcher killed at step {blow.nth}"
    with (
        nothing_left(problems, what) as life,
        contextlib.ExitStack() as stack,
    ):
        go, returned = stack.enter_context(Life()), stack.enter_context(Life())
        go_reader, returned_reader = os.dup(go._reader), os.dup(returned._reader)
        stack.callback(os.close, go_reader)
        stack.callback(os.close, returned_reader)
        pid = fork_launcher(make(), SLEEP, life, go_reader, returned.fd)
        try:
            with Strike(blow, pid) as strike:
                os.write(go.fd, b"g")
                returned.let_go()
                # Either it is killed, which closes the pipe, or it has written.
                select.select([returned_reader], [], [], NEVER)
                done = os.read(returned_reader, 1) == b"r"
                if done:  # it may have had fewer steps than the one before, and sleeps now
                    os.kill(pid, signal.SIGKILL)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        go.let_go()
        survived = False
        if done:
            kill_children()
        else:
            survived = _end_payload(life, what, problems)
    return Launcher(strike.hit, done, survived)


def kill_launcher_at(make: Callable[[], BootstrapData], nth: int, problems: list[str]) -> bool:
    """Kill the launcher at a step after its spawn. False when launch() has returned before."""
    return not strike_launcher(make, Blow(-1, nth, first_call=SYS_CLONE), problems).returned


def kill_launcher_at_childs(
    make: Callable[[], BootstrapData], nth: int, problems: list[str]
) -> bool:
    """Kill the launcher before a step of its direct child. False when that is executed before."""
    seen = strike_launcher(make, Blow(0, nth, victim="root"), problems)
    executing = seen.hit == SYS_EXECVE
    if seen.survived and not executing:
        problems.append(f"launcher killed before step {nth} (call {seen.hit}): the payload runs")
    if seen.returned:
        problems.append(f"launcher to be killed before step {nth} (call {seen.hit}) lives")
    return seen.hit is not None and not executing and not seen.returned


def _end_payload(life: Life, what: str, problems: list[str]) -> bool:
    """A payload that had taken over when the launcher was killed is as much on its own as any
    child of a parent that dies. All before that must go by itself. True where there is one."""
    deadline = time.monotonic() + AT_ONCE
    survived = True
    while set(names := living_children()) != {"sleep"}:
        if life.ends_within(0):
            survived = False
            break
        if time.monotonic() > deadline:
            problems.append(f"{what}: lives on: {names}")
            break
        time.sleep(0.002)
    kill_children()
    return survived


# --- a stub that is driven by hand ---------------------------------------------------------------


class LaunchedStub:
    """nsinit as our launcher starts it, with the second message and records on a status pipe."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair()
        self._status, status = os.pipe()
        with contextlib.closing(theirs):
            self._process = subprocess.Popen(
                ["/bin/true", "/bin/true"],
                executable=nsinit_path(),
                env={
                    "_LIBCONTAINER_INITPIPE": str(theirs.fileno()),
                    "_NSENTER_STATUS": str(status),
                },
                pass_fds=(theirs.fileno(), status),
                stdin=subprocess.DEVNULL,
            )
        os.close(status)

    def __enter__(self) -> LaunchedStub:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.kill()
        self._process.wait()
        self.channel.close()
        os.close(self._status)

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Its exit status and its records, once all that have the status pipe are gone."""
        if not hung_up(self._status, AT_ONCE):
            raise AssertionError("it has not ended")
        records = os.read(self._status, 1 << 16).decode().splitlines()
        return self._process.wait(AT_ONCE), [json.loads(line) for line in records]


# --- mapping tools that misbehave: what the unprivileged user's script does ----------------------


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A mapping tool.

    Args:
        name: of the case.
        script: of a shell, with {self} and {launcher} filled in; None: there is no such file.
        timeout: of the launch.
        mode: of the file.
        first_id: inside the user namespace; one without id 0 has no root to become.
        target: of the launch; one that does not end by itself is killed.
        found: "path": newuidmap is looked for on PATH; else it is given.
        times: how often it is tried; the last outcome is told, and all problems.
    """

    name: str
    script: str | None
    timeout: float = NEVER
    mode: int = 0o755
    first_id: int = 0
    target: Program | PythonInit = TRUE
    found: str = "given"
    times: int = 1


_REAL = 'exec /usr/bin/newuidmap "$@"'
TOOLS = (
    Tool(name="works", script=_REAL),
    Tool(name="works-on-path", script=f"touch {{self}}.ran; {_REAL}", found="path"),
    Tool(name="fails", script="echo the range is not yours >&2; exit 1"),
    Tool(name="fails-on-path", script="echo the fake one >&2; exit 1", found="path"),
    Tool(name="maps-nothing", script="exit 0"),
    Tool(name="maps-nothing-rootless", script="exit 0", first_id=1000),
    Tool(name="hangs", script="exec sleep 1000", timeout=0.5),
    Tool(name="hangs-with-a-child", script="sleep 1000 & sleep 1001; wait", timeout=0.5),
    Tool(name="hangs-deaf", script="trap '' TERM INT HUP; sleep 1000; sleep 1000", timeout=0.5),
    Tool(name="killed", script="kill -KILL $$"),
    Tool(name="terminated", script="echo half way >&2; kill -TERM $$"),
    Tool(name="kills-after-mapping", script='/usr/bin/newuidmap "$@"; kill -KILL $$'),
    Tool(name="missing", script=None),
    Tool(name="not-executable", script="exit 0", mode=0o644),
    Tool(name="closes-everything", script="exec <&- >&- 2>&-; exit 3"),
    Tool(name="closes-everything-and-hangs", script="exec <&- >&- 2>&-; sleep 1000", timeout=0.5),
    Tool(name="shouts", script="echo first words >&2; head -c 1000000 /dev/zero >&2; exit 1"),
    # dd says how much it could write, and fails where it could not.
    Tool(
        name="shouts-and-works",
        script=f"dd if=/dev/zero bs=1000 count=1000 status=none >&2 || exit 9; {_REAL}",
    ),
    # The launcher runs out of descriptors in the moment the pidfd of stage 2 comes, and in the
    # moment the channel is handed over.
    Tool(
        name="starves-the-reply",
        script=f"prlimit --pid {{launcher}} --nofile=3: || exit 9; {_REAL}",
        target=SLEEP,
        times=8,
    ),
    Tool(
        name="starves-the-channel",
        script="n=3; while [ -e /proc/{launcher}/fd/$n ]; do n=$((n + 1)); done\n"
        f"prlimit --pid {{launcher}} --nofile=$((n + 1)): || exit 9; {_REAL}",
        target=PYTHON_SLEEP,
        times=3,
    ),
)


def _write_tool(tool: Tool, folder: Path) -> Path:
    path = folder / tool.name / "newuidmap"
    path.parent.mkdir()
    if tool.script is not None:
        filled = tool.script.replace("{self}", str(path)).replace("{launcher}", str(os.getpid()))
        path.write_text(f"#!/bin/sh\necho $$ > {path}.pid\n{filled}\n")
        path.chmod(tool.mode)
    return path


def _tool_message(tool: Tool, path: Path) -> BootstrapData:
    # Two lines: the user may not write that itself.
    maps = (IDMap(tool.first_id, os.getuid(), 1), IDMap(tool.first_id + 1, 300_000, 1000))
    if tool.found == "path":
        os.environ["PATH"] = f"{path.parent}:{os.defpath}"
        namespaces = Namespaces(Namespace(NamespaceType.parse(kind)) for kind in ("user", "pid"))
        return bootstrap_data(namespaces, uid_mappings=maps, gid_mappings=maps)
    return BootstrapData(
        clone_flags=flags("user", "pid"),
        uid_mappings=maps,
        gid_mappings=maps,
        uidmap_path=str(path),
        gidmap_path="/usr/bin/newgidmap",
        setgroup=True,
        rootless_euid=True,
    )


def _is_alive(pid_file: Path) -> bool:
    try:
        return runs(int(pid_file.read_text()))
    except (OSError, ValueError):
        return False


def _gone(pid_file: Path) -> bool:
    deadline = time.monotonic() + AT_ONCE
    while _is_alive(pid_file):
        if time.monotonic() > deadline:
            with contextlib.suppress(OSError):
                os.kill(int(pid_file.read_text()), signal.SIGKILL)
            return False
        time.sleep(0.005)
    return True


def _timeouts(tool: Tool) -> Iterable[float]:
    """Of each launch. A busy machine may not have come to a tool that hangs by the first."""
    return (tool.timeout, 3.0, 9.0) if tool.timeout < AT_ONCE else tool.times * (tool.timeout,)


def _launch_with_tool(
    tool: Tool, data: BootstrapData, life: Life, timeout: float
) -> dict[str, Any]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    started = time.monotonic()
    try:
        child = launch(data, tool.target, stdin=life.fd, stdout=life.fd, timeout=timeout)
    except OSError as error:
        return {
            "seconds": time.monotonic() - started,
            "timeout": timeout,
            "error": str(error),
            "errno": error.errno,
            "stage": getattr(error, "stage", None),
        }
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    told = {"seconds": time.monotonic() - started, "timeout": timeout}
    with child:
        ends = tool.target not in (SLEEP, PYTHON_SLEEP)
        return {**told, "returncode": child.wait(NEVER) if ends else None}


def _try_tool(tool: Tool, folder: Path) -> dict[str, Any]:
    path = _write_tool(tool, folder)
    data = _tool_message(tool, path)
    problems: list[str] = []
    said: dict[str, Any] = {}
    for timeout in _timeouts(tool):
        with nothing_left(problems, tool.name) as life:
            said = _launch_with_tool(tool, data, life, timeout)
        if not _gone(Path(f"{path}.pid")):
            problems.append("the tool lives on")
        if timeout < AT_ONCE and f"wait for {path}" in said.get("error", ""):
            break
    ran = Path(f"{path}.ran").exists()
    return {**said, "problems": problems, "path": str(path), "ran": ran}


_HANGING = Tool(name="hanging", script="exec sleep 1000", timeout=NEVER)


def _hanging_tool(folder: Path, name: str) -> tuple[Path, BootstrapData]:
    tool = dataclasses.replace(_HANGING, name=name)
    path = _write_tool(tool, folder)
    return Path(f"{path}.pid"), _tool_message(tool, path)


def _await_file(path: Path) -> None:
    deadline = time.monotonic() + NEVER
    while not path.exists() or not path.read_text().endswith("\n"):
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.002)


def _launcher_killed_while_tool_hangs(folder: Path) -> dict[str, Any]:
    """The launcher is killed; nobody is left who would kill the tool after a while."""
    pid_file, data = _hanging_tool(folder, "launcher-killed")
    problems: list[str] = []
    with Life() as life, Life() as go:
        os.write(go.fd, b"g")
        pid = fork_launcher(data, TRUE, life, go._reader, go.fd)
        _await_file(pid_file)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if not life.ends_within(AT_ONCE):
            problems.append("a stage or the tool lives on after its launcher's death")
            os.kill(int(pid_file.read_text()), signal.SIGKILL)
    return {"problems": problems}


def _stage0_killed_while_tool_hangs(folder: Path) -> dict[str, Any]:
    """Our own launcher, but stage 0 is killed in the middle of the tool's work."""
    pid_file, data = _hanging_tool(folder, "stage0-killed")
    problems: list[str] = []

    def kill() -> None:
        _await_file(pid_file)
        tool = int(pid_file.read_text())
        stage0 = int(stat_fields(tool)[1])
        os.kill(stage0, signal.SIGKILL)

    with nothing_left(problems, "stage 0 killed") as life:
        thread = threading.Thread(target=kill)
        thread.start()
        outcome = outcome_of(data, TRUE, life, timeout=NEVER)
        thread.join()
    if not outcome.error or not names_stage(outcome.error, "parent"):
        problems.append(f"stage 0 is not named: {outcome}")
    if not _gone(pid_file):
        problems.append("the tool lives on")
    return {"problems": problems}


def _stub_killed_while_tool_hangs(folder: Path) -> dict[str, Any]:
    """A parent of runc's protocol has no process group to kill: the tool must go by itself."""
    pid_file, data = _hanging_tool(folder, "stub-killed")
    problems: list[str] = []
    ours, theirs = socket.socketpair()
    with Life() as life, ours, adopting_orphans():
        stub = subprocess.Popen(
            [nsinit_path(), "/bin/true"],
            env={"_LIBCONTAINER_INITPIPE": str(theirs.fileno())},
            pass_fds=(theirs.fileno(),),
            stdin=life.fd,
        )
        theirs.close()
        ours.sendall(data.encode())
        _await_file(pid_file)
        stub.kill()
        stub.wait()
        if not life.ends_within(AT_ONCE):
            problems.append(f"lives on after stage 0's death: {living_children()}")
        kill_children()
    return {"problems": problems}


def _try_all() -> dict[str, Any]:
    folder = Path(tempfile.mkdtemp(prefix="tools-"))
    try:
        own = (IDMap(0, os.getuid(), 1),)
        plain = BootstrapData(clone_flags=flags("user"), uid_mappings=own)
        launch(plain, TRUE).__exit__()  # what is made once is made now
        PYTHON_TRUE.archive()
        outcomes = {tool.name: _try_tool(tool, folder) for tool in TOOLS}
        for scene in (
            _launcher_killed_while_tool_hangs,
            _stage0_killed_while_tool_hangs,
            _stub_killed_while_tool_hangs,
        ):
            outcomes[scene.__name__.strip("_")] = scene(folder)
        return outcomes
    finally:
        shutil.rmtree(folder)


def tool_outcomes() -> Mapping[str, dict[str, Any]]:
    """What came of each tool, as an unprivileged user with subordinate ids."""
    from needs import needs
    from rootless import as_user

    for name, package in (("newuidmap", "uidmap"), ("newgidmap", "uidmap")):
        needs(name, package=package)
    needs("prlimit", package="util-linux")
    done = as_user(["env", f"PYTHONPATH={ROOT}", sys.executable, __file__])
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return outcomes


def spread(steps: int, count: int) -> Iterable[int]:
    """`count` step numbers from the first to the last but one."""
    return sorted({1 + (steps - 2) * i // (count - 1) for i in range(count)})


if __name__ == "__main__":
    print(json.dumps(_try_all()))
