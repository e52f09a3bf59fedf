"""Each command does the same, with the same status, whatever the environment of its caller is.

There is a table of what each command does, and of what a caller may have done to its streams,
signals, arguments and variables. The only exception is a standard output that cannot be written to,
if the command prints something.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from processes import wait_until
from pyrunc import Runtime, make_bundle

SECONDS = 20.0
SUCCESS, FAILURE, EXEC_FAILURE, NO_SUCH_COMMAND = 0, 1, 255, 3

# --- the commands --------------------------------------------------------------------------------

# What is there before ("": nothing), the words ("C": the container, "B": a bundle whose program
# stays, "E": one whose program ends with 7, "D": an empty directory), and the status.
COMMANDS: dict[str, tuple[str, str, int]] = {
    "create": ("", "create -b B C", SUCCESS),
    "start": ("created", "start C", SUCCESS),
    "run": ("", "run -b E C", 7),
    "run-detached": ("", "run -d -b B C", SUCCESS),
    "exec": ("running", "exec C sh -c 'exit 9'", 9),
    "exec-says": ("running", "exec C echo hello", SUCCESS),
    "exec-detached": ("running", "exec -d C true", SUCCESS),
    "exec-missing": ("running", "exec C /no/such/program", EXEC_FAILURE),
    "state": ("running", "state C", SUCCESS),
    "state-missing": ("", "state C", FAILURE),
    "list": ("running", "list", SUCCESS),
    "list-quiet": ("running", "list -q", SUCCESS),
    "list-json": ("running", "list -f json", SUCCESS),
    "kill": ("running", "kill C KILL", SUCCESS),
    "delete": ("stopped", "delete C", SUCCESS),
    "delete-running": ("running", "delete C", FAILURE),
    "delete-force": ("running", "delete --force C", SUCCESS),
    "ps": ("running", "ps C", SUCCESS),
    "ps-json": ("running", "ps -f json C", SUCCESS),
    "events": ("running", "events --stats C", SUCCESS),
    "pause": ("running", "pause C", SUCCESS),
    "resume": ("paused", "resume C", SUCCESS),
    "update": ("running", "update --pids-limit 100 C", SUCCESS),
    "spec": ("", "spec -b D", SUCCESS),
    "features": ("", "features", SUCCESS),
    "checkpoint": ("running", "checkpoint C", FAILURE),
    "restore": ("", "restore C", FAILURE),
    "version": ("", "--version", SUCCESS),
    "help": ("", "--help", SUCCESS),
    "no-such-command": ("", "nonsense", NO_SUCH_COMMAND),
    "no-such-option": ("", "state --nonsense", FAILURE),
}
PRINTING = {
    "state", "list", "list-quiet", "list-json", "ps", "ps-json", "events", "features", "version",
    "help",
}  # fmt: skip
BEFORE = {
    "": [],
    "created": ["create -b B C"],
    "running": ["run -d -b B C"],
    "paused": ["run -d -b B C", "pause C"],
    "stopped": ["run -d -b B C", "kill C KILL"],
}

# --- what a caller may have done -----------------------------------------------------------------


def close(*fds: int) -> Callable[[], None]:
    def change() -> None:
        for fd in fds:
            os.close(fd)

    return change


def put(path: str, flags: int, *fds: int) -> Callable[[], None]:
    """Open something as streams."""

    def change() -> None:
        opened = os.open(path, flags)
        for fd in fds:
            os.dup2(opened, fd)
        os.close(opened)

    return change


def break_pipe(*fds: int) -> Callable[[], None]:
    """A pipe that nobody reads."""

    def change() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        for fd in fds:
            os.dup2(writer, fd)
        os.close(writer)

    return change


def ignore(*numbers: int) -> Callable[[], None]:
    def change() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return change


def block() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


CAUGHT = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
STREAMS: dict[str, Callable[[], None]] = {
    "stdin-closed": close(0),
    "stdout-closed": close(1),
    "stderr-closed": close(2),
    "outputs-closed": close(1, 2),
    "all-closed": close(0, 1, 2),
    "stderr-full": put("/dev/full", os.O_WRONLY, 2),
    "stderr-broken": break_pipe(2),
    "stdin-a-directory": put("/", os.O_RDONLY, 0),
    "all-a-directory": put("/", os.O_RDONLY, 0, 1, 2),
    "INT-ignored": ignore(signal.SIGINT),
    "CHLD-ignored": ignore(signal.SIGCHLD),
    "all-ignored": ignore(*CAUGHT),
    "all-blocked": block,
}
UNWRITABLE: dict[str, Callable[[], None]] = {
    "stdout-full": put("/dev/full", os.O_WRONLY, 1),
    "outputs-full": put("/dev/full", os.O_WRONLY, 1, 2),
    "stdout-broken": break_pipe(1),
    "stdout-read-only": put("/dev/zero", os.O_RDONLY, 1),
}
WORDS: dict[str, dict[str, Any]] = {
    "argv0-of-another": {"argv0": "/nowhere/runc"},
    "argv0-empty": {"argv0": ""},
    "copied": {"copied": True},
    "no-variables": {"env": {}},
    "variables-of-python": {
        "env": {
            "PYTHONHOME": "/nowhere", "PYTHONPATH": "/nowhere", "PYTHONWARNINGS": "error",
            "PYTHONIOENCODING": "nonsense", "PYTHONOPTIMIZE": "2", "PYTHONINSPECT": "1",
        }
    },
}  # fmt: skip
DISTURBANCES = {
    **{name: {"change": change} for name, change in (STREAMS | UNWRITABLE).items()},
    **WORDS,
}
# The quick run takes each disturbance, and each command once, but not all forms of a command.
OTHER_FORMS = {
    "exec-says", "state-missing", "list-quiet", "list-json", "delete-running", "ps-json", "resume",
    "checkpoint", "restore", "help",
}  # fmt: skip
_COMMANDS = [command for command in COMMANDS if command not in OTHER_FORMS]
QUICK = {
    *zip(itertools.cycle(_COMMANDS), DISTURBANCES, strict=False),
    *zip(_COMMANDS, itertools.cycle(DISTURBANCES), strict=False),
    ("run", "CHLD-ignored"), ("exec", "all-closed"), ("state", "stdout-full"),
}  # fmt: skip
CASES = [
    pytest.param(*case, marks=[] if case in QUICK else pytest.mark.sweep, id="-".join(case))
    for case in itertools.product(COMMANDS, DISTURBANCES)
]


# --- the trial -----------------------------------------------------------------------------------


class Trial:
    """A container's place, and pyrunc there."""

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self.runtime = runtime
        self._folder = folder
        (folder / "empty").mkdir()
        self._names = {
            "C": f"trial-{os.urandom(4).hex()}",
            "B": str(make_bundle(folder / "stays")),
            "E": str(make_bundle(folder / "ends", ["sh", "-c", "exit 7"])),
            "D": str(folder / "empty"),
        }

    def words(self, line: str) -> list[str]:
        import shlex

        return [self._names.get(word, word) for word in shlex.split(line)]

    def prepare(self, before: str) -> None:
        for line in BEFORE[before]:
            self.runtime.good(*self.words(line), **pyrunc.NO_STREAMS)
        if before == "stopped":
            wait_until(lambda: self.runtime.state(self._names["C"])["status"] == "stopped")

    def __call__(
        self,
        line: str,
        *,
        change: Callable[[], None] = lambda: None,
        argv0: str | None = None,
        copied: bool = False,
        env: dict[str, str] | None = None,
    ) -> int:
        """The exit status of a command whose caller is disturbed."""
        program, *options = self.runtime.argv
        if copied:
            copy = self._folder / "runc"
            copy.write_bytes(Path(program).read_bytes())
            copy.chmod(0o755)
            program = str(copy)
        return subprocess.run(
            [program if argv0 is None else argv0, *options, *self.words(line)],
            executable=program, preexec_fn=change, env=env, restore_signals=False, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            timeout=SECONDS,
        ).returncode  # fmt: skip


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    for runtime in pyrunc.runtimes(tmp_path):
        yield Trial(runtime, tmp_path)


@pytest.mark.parametrize(("command", "disturbance"), CASES)
def test_a_command_does_the_same(trial: Trial, command: str, disturbance: str) -> None:
    before, line, status = COMMANDS[command]
    trial.prepare(before)
    if command in PRINTING and disturbance in UNWRITABLE:
        status = FAILURE
    assert trial(line, **DISTURBANCES[disturbance]) == status


def test_what_cannot_be_printed_is_named(trial: Trial) -> None:
    with Path("/dev/full").open("wb") as full:
        done = trial.runtime("list", stdout=full, stderr=subprocess.PIPE, capture_output=False)
    assert done.returncode == FAILURE
    assert "write standard output: no space left on device" in done.stderr


@pytest.mark.parametrize("name", ["INT", "QUIT", "HUP", "TERM", "USR1"])
@pytest.mark.parametrize("when", ["ignored", "blocked"])
def test_a_signal_reaches_the_process(trial: Trial, tmp_path: Path, name: str, when: str) -> None:
    """Also if the caller ignores it, as a shell does for its background jobs."""
    number = signal.Signals[f"SIG{name}"]
    script = f"trap 'exit 6' {name}; echo ready; while :; do sleep 0.1; done"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", script])
    words = trial.words(f"run -b {bundle} C")
    with subprocess.Popen(
        [*trial.runtime.argv, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        preexec_fn=ignore(number) if when == "ignored" else block,
    ) as process:  # fmt: skip
        assert process.stdout and process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.wait(SECONDS) == 6
