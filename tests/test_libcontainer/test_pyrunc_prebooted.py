"""The init that is booted beside the command is used once, or ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyrunc
from processes import all_pids, wait_until, words_of
from pyrunc import Runtime, make_bundle

SECRET = "not-for-the-container-5261"


@pytest.fixture(autouse=True)
def the_interpreters_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    """None waits beside a command that is from a memory image."""
    monkeypatch.setenv("NSENTER_IMAGE", "off")


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    yield from pyrunc.runtimes(tmp_path)


def inits() -> set[int]:
    """Those of this checkout's pyrunc."""
    words = [str(pyrunc.PYRUNC[0].resolve().with_name("pyrunc-start")), "init"]
    return {pid for pid in all_pids() if words_of(pid)[-2:] == words}


def wait_until_gone(before: set[int]) -> None:
    wait_until(lambda: inits() <= before)


def test_there_is_one_while_a_command_runs(runtime: Runtime, tmp_path: Path) -> None:
    before = inits()
    os.mkfifo(tmp_path / "config.json")  # which nobody writes to: the command stays
    with subprocess.Popen([*runtime.argv, "run", "--bundle", str(tmp_path), "c"]) as command:
        try:
            wait_until(lambda: inits() - before)
        finally:
            command.kill()
    wait_until_gone(before)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--bundle", "/nowhere", "c"],
        ["run", "--no-such-option"],
        ["create"],
        ["exec", "nobody", "true"],
        ["delete", "run"],  # a container of that name, which is not there
        ["state", "create"],
    ],
    ids=" ".join,
)
def test_one_that_was_not_needed_is_gone(runtime: Runtime, words: list[str]) -> None:
    before = inits()
    assert runtime(*words).returncode != 0
    # Those of another worker's commands come and go; one that stays is this command's.
    found = inits() - before
    wait_until(lambda: not found & inits())


def test_it_ends_with_a_command_that_is_killed(runtime: Runtime) -> None:
    before = inits()
    for delay in (0.001, 0.004, 0.008, 0.012):
        with subprocess.Popen([*runtime.argv, "exec", "nobody", "true"]) as command:
            time.sleep(delay)
            command.send_signal(signal.SIGKILL)
    wait_until_gone(before)


def test_it_ends_with_a_killed_command_even_if_it_hangs_before_it_reads(
    runtime: Runtime, tmp_path: Path
) -> None:
    """The dynamic loader, of both interpreters, waits for somebody who writes to a library."""
    before = inits()
    os.mkfifo(tmp_path / "libc.so.6")
    hanging: set[int] = set()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path)}
    with subprocess.Popen([*runtime.argv, "exec", "nobody", "true"], env=environment) as command:
        try:
            wait_until(lambda: hanging.update(inits() - before) or hanging)
        finally:
            command.kill()
    try:
        wait_until(lambda: not hanging & inits())
    finally:
        for pid in hanging & inits():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_it_has_nothing_of_the_environment(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good(
        "create", "--bundle", bundle, "c", env={**os.environ, "SECRET": SECRET}, **pyrunc.NO_STREAMS
    )
    init = Path(f"/proc/{runtime.state('c')['pid']}")
    assert SECRET.encode() not in (init / "environ").read_bytes()
    assert SECRET.encode() not in (init / "cmdline").read_bytes()


@pytest.mark.parametrize("count", [0, 1, 5, 40])
def test_descriptors_that_are_kept_come_under_their_numbers(
    runtime: Runtime, tmp_path: Path, count: int
) -> None:
    kept = range(3, 3 + count)
    # What ends the line keeps the shell from becoming the `ls`, which has one more.
    look = "".join(f"cat <&{fd};" for fd in kept) + "ls /proc/$$/fd; true"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", look])
    opened = "".join(f"exec {fd}<<'E'\n{fd} is here\nE\n" for fd in kept)
    run = [*runtime.argv, "run", "--preserve-fds", str(count), "--bundle", str(bundle), "c"]
    done = subprocess.run(
        ["bash", "-c", f'{opened}exec "$@"', "bash", *run],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[:count] == [f"{fd} is here" for fd in kept]
    assert sorted(map(int, lines[count:])) == [0, 1, 2, *kept]


def test_nobody_else_says_which_process_is_the_init(runtime: Runtime) -> None:
    """It would be killed when it is not needed."""
    with subprocess.Popen(["sleep", "1000"]) as other:
        told = {**os.environ, "_PYRUNC_INIT": f"{other.pid},1,2"}
        for words in (["state", "nope"], ["exec", "nope", "true"]):
            assert runtime(*words, env=told).returncode != 0
            assert other.poll() is None
        other.kill()


def test_an_environment_of_any_size_is_taken(runtime: Runtime) -> None:
    large = {f"VARIABLE_{i}": "x" for i in range(10_000)}
    assert "nope" in runtime("state", "nope", env=large).stderr
