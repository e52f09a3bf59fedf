"""If an init is killed before it is done, the command fails with a named error and leaves nothing.

The init is killed at the entry of one of its system calls, as the kernel does if memory runs out:
here at some of them, and in the sweep at every one.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from faults import SYS_CLONE3, SYS_EXECVE, Blow, Strike, killer
from mounted import mounted
from pyrunc import Runtime, cgroups_of, make_bundle
from seizing import joins_last

# Which of the processes below the command is the init. The prebooted one is the first;
# it clones a container's first process, and a stage that clones a further one.
WHICH = {"create": 1, "run": 1, "run --detach": 1, "exec": 2, "exec --detach": 2}
FAILED = {"create": 1, "run": 1, "run --detach": 1, "exec": 255, "exec --detach": 255}
# Once it has said that it waits for `start`, its death is no failure of `create`.
SYS_OF_WAITING = (3, 0) if os.uname().machine == "x86_64" else (57, 63)  # close, read
# In an existing PID namespace, the first process of a container has a successor.
FIRST, SUCCESSOR = 1, 2
SHELL = ["sh", "-c", 'read go; exec "$@" </dev/null', "sh"]
SECONDS = 60

runtime = pytest.fixture(pyrunc.runtimes)


class Case:
    """A command that starts a process, and what there is on the machine before it.

    Args:
        command: see `WHICH`.
        folder: for the bundle and what is noted.
        which: see `WHICH`.
        pod: the pid of a process whose PID namespace the container is to be in; 0: a new one.
    """

    def __init__(
        self, command: str, runtime: Runtime, folder: Path, *, which: int = 0, pod: int = 0
    ) -> None:
        self.command, self.runtime, self.pod = command, runtime, pod
        self.which = which or WHICH[command]
        self.marks, self.pid_file = folder / "marks", folder / "files/pid"
        self.pid_file.parent.mkdir()
        program = ["true"] if command == "run" else ["sleep", "1000"]
        self.bundle = bundle = make_bundle(folder / "bundle", program, change=self._change)
        self.words = [*command.split(), "--pid-file", str(self.pid_file)]
        if command.startswith("exec"):
            runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
            self.words += ["c", "true"]
        else:
            self.words += ["-b", str(bundle), "c"]
        self.marks.unlink(missing_ok=True)
        self.before = self.left()

    def _change(self, spec: dict[str, Any]) -> None:
        mark = ["sh", "-c", f"echo poststart >>{self.marks}"]
        spec["hooks"] = {"poststart": [{"path": "/bin/sh", "args": mark}]}
        if self.pod:
            (kind,) = [ns for ns in spec["linux"]["namespaces"] if ns["type"] == "pid"]
            kind["path"] = f"/proc/{self.pod}/ns/pid"

    def left(self) -> dict[str, object]:
        """What a command that fails leaves as it was."""
        cgroups = cgroups_of(self.bundle, "c")
        return {
            "state": sorted(map(str, self.runtime.root.glob("**/*"))),
            "cgroups": cgroups,
            "processes": [(path / "cgroup.procs").read_text() for path in cgroups],
            "mounts": mounted(),
            "poststart hook": self.marks.exists(),
            "pid file": list(self.pid_file.parent.iterdir()),
        }

    def struck(self, nth: int, first_call: int = -1) -> tuple[int | None, int, str]:
        """The command while its init is killed: at which call, its exit status, its errors."""
        words = [*SHELL, *self.runtime.argv, *self.words]
        errors = self.marks.with_name("errors")
        with (
            errors.open("w") as file,
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=file, stderr=file) as command,
        ):
            blow = Blow(self.which, nth, signal.SIGKILL, first_call)
            with Strike(blow, command.pid) as strike:
                command.communicate(b"\n", timeout=SECONDS)
        return strike.hit, command.returncode, errors.read_text()

    def check(self, nth: int, first_call: int = -1) -> bool:
        """Whether its init was killed at this step; if so, it failed as it has to."""
        hit, status, said = self.struck(nth, first_call)
        where = f"{self.command}, killed at step {nth}, system call {hit}: {status}, {said!r}"
        if status == 0 and self.command == "create" and hit in SYS_OF_WAITING:
            assert self.runtime.state("c")["status"] == "stopped", where
            hit = None
        if hit is None:
            assert status == 0, where
            self.clean()
            return False
        assert status == FAILED[self.command], where
        assert re.search(r"killed by SIGKILL|\(init\) ended early", said), where
        assert self.left() == self.before, where
        return True

    def clean(self) -> None:
        if not self.command.startswith("exec"):
            self.runtime("delete", "--force", "c")
        self.marks.unlink(missing_ok=True)
        self.pid_file.unlink(missing_ok=True)


@pytest.fixture(params=WHICH)
def case(request: pytest.FixtureRequest, runtime: Runtime, tmp_path: Path) -> Case:
    killer()
    return Case(request.param, runtime, tmp_path)


def test_an_init_that_is_killed_fails_its_command_by_name_and_leaves_nothing(case: Case) -> None:
    assert case.check(1)
    assert case.check(60)
    assert case.check(120)


@pytest.mark.parametrize("case", [name for name in WHICH if name != "create"], indirect=True)
def test_an_init_that_is_killed_at_its_execve_has_not_started(case: Case) -> None:
    """After `create` an init executes its program when `start` says so."""
    assert case.check(1, SYS_EXECVE)


def steps(case: Case) -> int:
    """Kill the process at each of its steps; returns how many there were."""
    return next(nth for nth in itertools.count(1) if not case.check(nth))


@pytest.mark.sweep
def test_an_init_that_is_killed_at_any_step(case: Case) -> None:
    assert steps(case) > 100


@pytest.fixture(params=[FIRST, SUCCESSOR], ids=["the first process", "its successor"])
def shared(request: pytest.FixtureRequest, runtime: Runtime, tmp_path: Path) -> Case:
    """Of a container in an existing PID namespace."""
    killer()
    pod = make_bundle(tmp_path / "pod", ["sleep", "1000"])
    runtime.good("run", "--detach", "-b", pod, "pod", **pyrunc.NO_STREAMS)
    pid = runtime.state("pod")["pid"]
    return Case("create", runtime, tmp_path, which=request.param, pod=pid)


@joins_last
def test_in_an_existing_pid_namespace_neither_process_dies_unnoticed(shared: Case) -> None:
    clone = SYS_CLONE3 if shared.which == FIRST else -1
    for nth in range(1, 12):
        shared.check(nth, clone)


@joins_last
@pytest.mark.sweep
def test_in_an_existing_pid_namespace_an_init_that_is_killed_at_any_step(shared: Case) -> None:
    assert steps(shared) > 50
