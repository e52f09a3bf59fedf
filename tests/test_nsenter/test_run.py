"""run, check_call and check_output are subprocess's for namespaces; a timeout leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest

from isolations import ALL, DIRECT, PLAIN, each_way
from nsenter.options import Options
from nsenter.popen import check_call, check_output, run

SECONDS = 20.0


@each_way
def test_what_was_done_is_told_whole(options: Options) -> None:
    done = run("cat; echo said >&2; exit 7", options, shell=True, input=b"x", capture_output=True)
    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.args, done.returncode) == ("cat; echo said >&2; exit 7", 7)
    assert (done.stdout, done.stderr) == (b"x", b"said\n")


def test_nothing_is_kept_that_was_not_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    done = run(["echo", "a"], ALL)
    assert (done.returncode, done.stdout, done.stderr) == (0, None, None)
    assert capfd.readouterr().out == "a\n"


def test_text_goes_in_and_comes_out() -> None:
    assert run(["cat"], DIRECT, input="ä\n", stdout=PIPE, text=True).stdout == "ä\n"
    assert check_output(["cat"], DIRECT, input="ä", encoding="utf-16") == "ä"
    assert check_output(["printf", r"a\r\nb"], DIRECT, universal_newlines=True) == "a\nb"


def test_input_is_a_stdin_of_its_own() -> None:
    with pytest.raises(ValueError, match="stdin=3: input is given, which takes it over"):
        run(["cat"], DIRECT, input=b"", stdin=3)


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_capture_output_takes_both_streams(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}=-1: capture_output is given"):
        run(["true"], DIRECT, capture_output=True, **{name: PIPE})


def test_an_empty_input_is_an_end() -> None:
    assert run(["cat"], DIRECT, input=b"", stdout=PIPE).stdout == b""


# ---- check


def test_a_status_that_is_not_0_is_an_error_where_it_is_checked() -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run("echo o; echo e >&2; exit 3", DIRECT, shell=True, capture_output=True, check=True)
    error = caught.value
    assert (error.returncode, error.cmd) == (3, "echo o; echo e >&2; exit 3")
    assert (error.stdout, error.output, error.stderr) == (b"o\n", b"o\n", b"e\n")
    assert str(error).endswith("returned non-zero exit status 3.")


def test_a_signal_that_ended_it_is_told_by_its_name() -> None:
    with pytest.raises(subprocess.CalledProcessError, match=r"died with <Signals\.SIGKILL: 9>"):
        run("kill -9 $$", PLAIN, shell=True, check=True)


def test_check_call_returns_0_or_raises() -> None:
    assert check_call(["true"], DIRECT) == 0
    with pytest.raises(subprocess.CalledProcessError) as caught:
        check_call(["false"], DIRECT)
    assert caught.value.returncode == 1


def test_check_output_returns_what_was_said_or_raises_with_it() -> None:
    assert check_output(["echo", "a"], DIRECT) == b"a\n"
    assert check_output("echo a; echo b >&2", DIRECT, shell=True, stderr=STDOUT) == b"a\nb\n"
    with pytest.raises(subprocess.CalledProcessError) as caught:
        check_output("echo a; exit 2", DIRECT, shell=True)
    assert (caught.value.returncode, caught.value.output) == (2, b"a\n")


@pytest.mark.parametrize("argument", [{"stdout": PIPE}, {"check": False}, {"capture_output": True}])
def test_check_output_takes_no_stdout(argument: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="check_output sees to it itself"):
        check_output(["true"], DIRECT, **argument)


# ---- timeouts


def expired(script: str, options: Options, **more: Any) -> subprocess.TimeoutExpired:
    """What a script ends with that sleeps after its output, and what it had written by then.

    The time is the first of some within which this machine gets to the output.
    """
    for timeout in (0.2, 2.0, 20.0):
        started = time.monotonic()
        with pytest.raises(subprocess.TimeoutExpired) as caught:
            run(script, options, shell=True, timeout=timeout, **more)
        assert time.monotonic() - started < timeout + SECONDS
        assert caught.value.timeout == timeout
        if caught.value.output:
            break
    return caught.value


@each_way
def test_one_that_takes_too_long_is_killed(options: Options) -> None:
    script = "echo before; exec sleep 1000"
    caught = expired(script, options, capture_output=True)
    assert (caught.output, caught.stderr) == (b"before\n", None)


def test_all_in_its_pid_namespace_is_killed_with_it() -> None:
    """Also what has left the group and closed every stream."""
    reader, writer = os.pipe()
    script = f"setsid sh -c 'exec 0<&- 1>&- 2>&-; exec sleep 1000' & exec sleep 1000 {writer}>&-"
    with pytest.raises(subprocess.TimeoutExpired):
        run(script, DIRECT, shell=True, timeout=0.2, pass_fds=[writer])
    os.close(writer)
    assert os.read(reader, 1) == b"", "nobody has the pipe any more"
    os.close(reader)


def test_what_holds_the_pipe_holds_up_nobody_once_the_time_is_over() -> None:
    """Without a pid namespace a grandchild lives on with the pipe."""
    script = "sleep 1000 & echo $!; exec sleep 1000"
    caught = expired(script, PLAIN, stdout=PIPE)
    assert caught.output is not None
    os.kill(int(caught.output), signal.SIGKILL)


@pytest.mark.parametrize("call", [check_call, check_output])
def test_the_others_have_a_timeout_too(call: Any) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        call(["sleep", "1000"], DIRECT, timeout=0.05)


def test_enough_time_changes_nothing() -> None:
    assert check_output("sleep 0.05; echo a", DIRECT, shell=True, timeout=SECONDS) == b"a\n"


# ---- what breaks in


def test_an_exception_while_it_runs_leaves_no_process() -> None:
    """The interrupt is ours alone: what leads another session does not see the terminal's ^C."""
    script = """
import os, signal
from nsenter.options import Options
from nsenter.popen import run
signal.signal(signal.SIGALRM, signal.default_int_handler)
try:
    script = f"read line; kill -ALRM {os.getpid()}; exec sleep 1000"
    run(script, Options(), shell=True, input=b"it waits", capture_output=True)
except KeyboardInterrupt:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        print("no child")
"""
    words = [sys.executable, "-W", "error", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert (done.stdout, done.stderr) == ("no child\n", "")


def test_input_of_a_wrong_kind_leaves_no_process() -> None:
    with pytest.raises(TypeError):
        run(["cat"], DIRECT, input="text", stdout=PIPE)
    with pytest.raises((TypeError, AttributeError)):
        run(["cat"], DIRECT, input=b"bytes", stdout=PIPE, text=True)


# ---- where it runs


def test_it_is_imported_by_who_uses_it() -> None:
    """`import nsenter` costs nothing of it. Its arguments are TypedDicts, which takes typing."""
    script = """
import sys, nsenter
heavy = "subprocess", "asyncio", "nsenter.popen", "nsenter.options", "typing", "enum"
loaded = [name for name in heavy if name in sys.modules]
assert not loaded, loaded
nsenter.run
assert "asyncio" not in sys.modules
"""
    root = str(Path(__file__).parent.parent.parent)
    words = [sys.executable, "-S", "-c", script]
    site = os.pathsep.join([root, *(path for path in sys.path if path.endswith("site-packages"))])
    subprocess.run(words, check=True, env={"PYTHONPATH": site})
