"""A call ends with its caller and at its timeout, and signals end it as other processes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import call_targets
from launching import SECONDS
from nsenter import BootstrapData, Caller, NamespaceExecutor, Options, PythonInit, call
from nsenter._inside import worker
from nsenter._remote import call_bytes
from nsenter.calling import WorkerDied
from nsenter.launch import launch
from sweeps import some

ROOT = Path(__file__).parent.parent.parent

# Kills a caller after each of the moments: its pipe ends when nobody has it as output any more.
# A fork of what has imported all is a caller as any other, and costs no interpreter's start.
KILLER = """
import os, select, signal, sys, threading, time
from nsenter import Caller, NamespaceExecutor, Options, call

def kill_after(moment, caller):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(writer, 1)
        os.close(reader)
        os.close(writer)
        os.write(1, b"r")
        try:
            exec(caller)
            time.sleep(300)
        except TimeoutError:
            os._exit(1)
    os.close(writer)
    os.read(reader, 1)
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    ends = bool(select.select([reader], [], [], float(sys.argv[2]))[0]) and not os.read(reader, 1)
    assert ends, f"killed after {moment} s: its call lives on"
    os.close(reader)

for moment in map(float, sys.argv[3:]):
    kill_after(moment, sys.argv[1])
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


@pytest.mark.parametrize(
    "caller",
    some(CALLERS.values(), *(CALLERS[name] for name in ("call", "no pid namespace", "executor"))),
    ids=CALLERS,
)
def test_nothing_is_left_when_the_caller_is_killed_at_any_moment(caller: str) -> None:
    words = [sys.executable, "-c", KILLER, caller, str(SECONDS), *map(str, MOMENTS)]
    done = subprocess.run(words, cwd=ROOT, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_ends_without_a_word_if_its_caller_has_not_read_all(tmp_path: Path) -> None:
    """The kernel then says ECONNRESET to the worker, not that there is no more to read."""
    settings = {"trusted": False, "most": 1 << 20, "files": None}
    init = PythonInit("nsenter._inside.worker:main", (settings,), modules=call_bytes.FOR_PICKLE)
    sent = call_bytes.pack(os.getpid, (), {}, as_data=True)
    with (tmp_path / "stderr").open("wb") as stderr:
        child = launch(BootstrapData(), init, stderr=stderr.fileno())
    with child:
        os.write(child.channel_fd, worker.frame(sent.kind, sent.body))
        assert select.select([child.channel_fd], [], [], SECONDS)[0]
        os.close(child.channel_fd)
        child.channel_fd = -1
        assert child.wait(SECONDS) == 0
    assert (tmp_path / "stderr").read_bytes() == b""


def test_everything_that_a_function_has_started_ends_with_its_timeout(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for timeout in (0.3, 3.0, 20.0):  # the first within which this machine gets to the orphan
        with pytest.raises(TimeoutError):
            Caller(timeout=timeout).call(call_targets.hold_by_an_orphan, str(tmp_path / "pipe"))
        if select.select([reader], [], [], 0)[0] and os.read(reader, 1):
            break
    else:
        raise AssertionError("there was no orphan")
    assert select.select([reader], [], [], SECONDS)[0], "the orphan lives on"
    assert os.read(reader, 1) == b""
    os.close(reader)


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


@pytest.mark.parametrize("closed", ["0", "1", "2", "12", "012"])
def test_a_caller_may_have_closed_its_streams(closed: str) -> None:
    """The process gets /dev/null in their place, and none of the launcher's own descriptors."""
    script = f"""
import os, nsenter, call_targets
for number in map(int, "{closed}"):
    os.close(number)
for options in (None, nsenter.presets.sandbox()):
    seen = nsenter.call(call_targets.streams, options=options)
    assert all(seen[number] == seen["null"] for number in map(int, "{closed}")), seen
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT / "tests/payloads", check=False)
    assert done.returncode == 0
