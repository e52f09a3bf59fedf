"""If any system call fails, the error names the call, and nothing is left."""

from __future__ import annotations

import importlib
import itertools
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyrunc
from nsenter._interpreter import image
from pyrunc import Runtime, cgroups_of, make_bundle
from sweeps import some
from syscalls import ERRNOS, TEXTS, Call, calls, calls_between, inject

SAMPLES = 3
# What is said of an error is imported beforehand: the sandbox of the sweep is about our own calls.
PYTHON = """
import os, subprocess
from nsenter import Options, Popen, call
import nsenter._host.os_errors, nsenter._host.hints
os.access("/begin", 0)
{}
"""
SCRIPTS = {
    "Popen": 'Popen(["true"], options=Options(new="all"), stdout=subprocess.PIPE).communicate()',
    "call": "assert call(len, [1, 2]) == 2",
}

runtime = pytest.fixture(pyrunc.runtimes)


def traces_in(said: str) -> bool:
    """Whether there is a traceback of ours. Python tells of the pipe of signals by itself."""
    return said.count("Traceback") > said.count("write to the signal wakeup fd")


def warm_up(words: list[str]) -> None:
    """Have a command keep what it has imported, which takes a thousand calls the first time."""
    for _ in range(3):
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


class Way:
    """A way to start a process.

    Args:
        words: the command.
        begin: what is in the arguments of the call from which on it is ours.
        left: what it must leave as it is.
    """

    def __init__(self, words: list[str], begin: str, left: Callable[[], object]) -> None:
        self.words, self.begin, self.left = words, begin, left
        warm_up(words)
        self.before = left()

    def check(self, call: Call, error: str) -> None:
        """It does what it is to do all the same, or fails as it has to."""
        done = inject(call, error, self.words)
        where = f"{call.name}, call {call.nth}, {error}: {done.returncode}, {done.stderr}"
        if done.returncode:
            said = done.stderr.strip().rpartition("\n")[2]
            assert said, where
            assert "internal error" not in done.stderr, where
            bare = rf'((run|exec) failed: |\] ){re.escape(TEXTS[error])}"?$'
            assert not re.search(bare, said, re.IGNORECASE), where
            assert self.words[0] == sys.executable or not traces_in(done.stderr), where
        assert self.left() == self.before, where


@pytest.fixture(params=["run", "exec", *SCRIPTS])
def way(request: pytest.FixtureRequest, runtime: Runtime, tmp_path: Path) -> Iterator[Way]:
    program = ["true"] if request.param == "run" else ["sleep", "1000"]
    bundle = make_bundle(tmp_path / "bundle", program)

    def left() -> object:
        return sorted(runtime.root.glob("**/*")), cgroups_of(bundle, "c")

    if request.param == "run":
        yield Way([*runtime.argv, "run", "-b", str(bundle), "c"], "config.json", left)
    elif request.param == "exec":
        runtime.good("run", "--detach", "-b", bundle, "c", **pyrunc.NO_STREAMS)
        yield Way([*runtime.argv, "exec", "c", "true"], "state.json", left)
    else:
        script = PYTHON.format(SCRIPTS[request.param])
        yield Way([sys.executable, "-c", script], "/begin", left)


def test_a_call_that_fails_is_named_and_nothing_is_left(way: Way, tmp_path: Path) -> None:
    found = calls(way.words, tmp_path, way.begin)
    picked = random.Random(20261130).sample(found, SAMPLES)
    for call, error in zip(picked, itertools.cycle(ERRNOS)):
        way.check(call, error)


@pytest.mark.sweep
def test_every_call_that_fails_is_named_and_nothing_is_left(way: Way, tmp_path: Path) -> None:
    problems = []
    # Each error at each eighth call of a name, which a loop makes many of.
    for number, call in enumerate(calls(way.words, tmp_path, way.begin)):
        try:
            way.check(call, ERRNOS[number % len(ERRNOS)])
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            problems.append(str(problem).partition("\nassert")[0])
            way.before = way.left()
    assert not problems, "\n\n".join(problems)


def check_clean_up(runtime: Runtime, tmp_path: Path, sample: int = 0) -> None:
    """Errors in what is done about a start that failed: why it failed is told all the same, and
    nothing is left."""
    bundle = make_bundle(tmp_path / "bundle", ["/no-such-program"])
    words = [*runtime.argv, "run", "-b", str(bundle), "c"]
    warm_up(words)
    killed = ", SIGKILL, NULL, 0"  # how the clean-up begins
    found = calls_between(words, tmp_path, killed, '"time=', alone=True)
    # How often it waits before, differs from run to run.
    found = [call for call in found if call.name != "ppoll"]
    assert found
    picked = random.Random(20261130).sample(found, sample) if sample else found
    problems = []
    for call, error in zip(picked, itertools.cycle(ERRNOS)):
        for _ in range(3):  # with more calls before it than at first, another one fails: again
            wrong = wrong_with_clean_up(runtime, bundle, call, error, words)
            if not wrong:
                break
        else:
            problems.append(wrong)
    assert not problems, "\n\n".join(problems)


def wrong_with_clean_up(
    runtime: Runtime, bundle: Path, call: Call, error: str, words: list[str]
) -> str:
    """What is wrong if a call of the clean-up fails; "" if nothing is."""
    done = inject(call, error, words)
    left = sorted(runtime.root.glob("**/*")), cgroups_of(bundle, "c")
    is_told = "stat /no-such-program: no such file" in done.stderr
    if done.returncode == 1 and is_told and not traces_in(done.stderr) and not any(left):
        return ""
    runtime("delete", "--force", "c")
    return f"{call}, {error}: {done.returncode}, {done.stderr}, left: {left}"


def test_an_error_of_the_clean_up_does_not_hide_why_a_start_failed(
    runtime: Runtime, tmp_path: Path
) -> None:
    check_clean_up(runtime, tmp_path, SAMPLES)


@pytest.mark.sweep
def test_no_error_of_the_clean_up_hides_why_a_start_failed(
    runtime: Runtime, tmp_path: Path
) -> None:
    check_clean_up(runtime, tmp_path)


def test_an_error_while_a_container_is_made_leaves_nothing(
    runtime: Runtime, tmp_path: Path
) -> None:
    """From its directory to the last close: if that is an error, nobody hears of it."""
    bundle = make_bundle(tmp_path / "bundle", ["/no-such-program"])
    words = [*runtime.argv, "run", "-b", str(bundle), "c"]
    warm_up(words)
    folder = f'"{runtime.root}/c", 0711'
    made = calls_between(words, tmp_path, folder, "state.json.new")
    made += calls_between(words, tmp_path, "state.json.new", "LOCK_EX")
    picked = [call for call in made if call.name in ("close", "flock", "renameat")]
    picked += [call for call in made if call.name == "newfstatat"][:3]
    assert len(picked) > 5
    for call in picked:
        inject(call, "ENOSPC", words)
        assert not list(runtime.root.glob("*")), call
        assert not cgroups_of(bundle, "c"), call


@pytest.mark.parametrize("error", some(ERRNOS, "ENOMEM", "EPERM", "EINTR"))
@pytest.mark.parametrize(("nth", "name"), [(1, "ppoll"), (3, "waitid"), (4, "waitid")])
def test_what_a_launcher_calls_is_told_whatever_the_error(nth: int, name: str, error: str) -> None:
    words = [sys.executable, "-c", PYTHON.format(SCRIPTS["Popen"])]
    done = inject(Call(name, nth), error, words)
    if error == "EINTR":
        assert done.returncode == 0, done.stderr
    else:
        assert re.search(rf": {name}( the caller)?: {TEXTS[error]}$", done.stderr), done.stderr


def test_a_broken_pipe_that_is_not_its_output_is_told(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    words = [*runtime.argv, "run", "-b", str(bundle), "c"]
    first = min(call for call in calls(words, tmp_path, "config.json") if call.name == "write")
    done = inject(first, "EPIPE", words)
    assert done.returncode == 1
    assert re.search(r"write \S+: broken pipe", done.stderr)
    assert not list(runtime.root.glob("*"))


@pytest.mark.parametrize("module", ["_cffi_backend", "_nsexec"])
def test_a_module_that_cannot_be_loaded_is_told_in_a_line(
    runtime: Runtime, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An interpreter from an image has the module already, and opens its file for the image only.
    monkeypatch.setenv(image.VARIABLE, image.OFF)
    source = str(
        importlib.import_module(f"nsenter.{module}" if module == "_nsexec" else module).__file__
    )
    words = [*runtime.argv, "run", "c"]
    done = inject(Call("openat", 1), "EMFILE", words, path=source)
    assert done.returncode == 1
    said = f"pyrunc: the modules in .* cannot be loaded: .*{module}.*: Too many open files"
    assert re.search(said, done.stderr), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "nth", "said"),
    [
        ("fchdir", 1, "fchdir"),  # on the host, before the root of the container is there
        ("symlinkat", 2, "symlink /dev/stdin"),
        ("fchdir", 2, "fchdir"),  # in the container, where no source of ours can be read
    ],
)
def test_the_init_names_what_failed_in_it(
    runtime: Runtime, tmp_path: Path, name: str, nth: int, said: str
) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    words = [*runtime.argv, "run", "-b", str(bundle), "c"]
    done = inject(Call(name, nth), "EPERM", words)
    assert f"container init: {said}: operation not permitted" in done.stderr
    assert not list(runtime.root.glob("*"))


@pytest.mark.parametrize(
    "limits", [range(5, 17, 4), pytest.param(range(4, 40), marks=[pytest.mark.sweep])]
)
def test_out_of_descriptors_is_named_and_nothing_is_left(
    runtime: Runtime, tmp_path: Path, limits: range
) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    for limit in limits:
        words = ["sh", "-c", f'ulimit -S -n {limit}; exec "$@"', "sh", *runtime.argv]
        done = Runtime(words, runtime.root)("run", "-b", bundle, "c")
        named = re.search(r"\S+ \S+: too many open|ended", done.stderr)
        assert done.returncode == 0 or named, (limit, done.stderr)
        assert not list(runtime.root.glob("*")), (limit, done.stderr)
        assert not cgroups_of(bundle, "c"), (limit, done.stderr)
