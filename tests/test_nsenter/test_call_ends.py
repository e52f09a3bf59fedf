"""A call ends with its caller and with its timeout, and signals end it as they do anywhere."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import call_targets
from launching import SECONDS
from nsenter import Caller, NamespaceExecutor, Options, call
from nsenter.calling import WorkerDied

ROOT = Path(__file__).parent.parent.parent

SETUP = """
import sys, threading, time
from nsenter import Caller, NamespaceExecutor, Options, call
print("ready", flush=True)
"""
# What calls, with the functions' output where ours goes; it would last for minutes.
CALLERS = {
    "call": "call(time.sleep, 300)",
    "timeout": "Caller(timeout=0.3).call(time.sleep, 300)",
    "no init": "call(time.sleep, 300, options=Options(new='all', init=False))",
    "no pid namespace": "call(time.sleep, 300, options=Options())",
    "thread": "threading.Thread(target=call, args=(time.sleep, 300)).start()",
    "executor": "NamespaceExecutor(2).submit(time.sleep, 300).result()",
    "fresh": "NamespaceExecutor(1, fresh=True).submit(time.sleep, 300).result()",
}
# From before the spawn until the function runs for sure, in seconds.
MOMENTS = [n * 0.003 for n in range(24)] + [0.5]


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
def test_nothing_is_left_when_the_caller_is_killed_at_any_moment(caller: str) -> None:
    for moment in MOMENTS:
        with subprocess.Popen(
            [sys.executable, "-c", SETUP + caller], cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(moment)
            process.kill()
            # The pipe ends when nobody has it as output any more.
            ready, _, _ = select.select([process.stdout], [], [], SECONDS)
            assert ready, f"killed after {moment} s: its call lives on"


def test_everything_that_a_function_has_started_ends_with_its_timeout(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError):
        Caller(timeout=0.3).call(call_targets.make_folder_by_an_orphan, str(tmp_path / "x"), 1.0)
    time.sleep(1.2)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGALRM, signal.SIGINT, signal.SIGABRT])
def test_a_signal_that_a_function_sends_itself_ends_it(number: int) -> None:
    if number == signal.SIGINT:  # Python has a handler for it
        with pytest.raises(Exception, match="KeyboardInterrupt"):
            call(call_targets.kill_me, int(number))
        return
    with pytest.raises(WorkerDied) as caught:
        call(call_targets.kill_me, int(number))
    assert caught.value.returncode == -number


def test_abort_is_told_as_abort() -> None:
    for options in (None, Options(new="user,pid")):
        with pytest.raises(WorkerDied, match="SIGABRT"):
            call(os.abort, options=options)
    with NamespaceExecutor(1, fresh=True) as executor:
        error = executor.submit(os.abort).exception()
    assert isinstance(error, WorkerDied)
    assert error.returncode == -signal.SIGABRT
