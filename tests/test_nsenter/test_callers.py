"""Calls work whatever their caller has in its environment, has closed, or ignores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

SETUP = """
import os, signal, sys
from nsenter import BootstrapData, BootstrapError, Program, PythonInit
from nsenter.launch import launch

def status(target, **options):
    with launch(BootstrapData(), target, **options) as child:
        return child.wait(60)
"""


def run(script: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SETUP + script], cwd=ROOT, timeout=300, text=True,
        capture_output=True, env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("options", ["", "trace=True"], ids=["direct", "stages"])
def test_a_caller_that_is_a_payload_itself_passes_none_of_that_on(options: str) -> None:
    script = f"print(status(Program(['env']), {options}))"
    said = run(script, _LIBCONTAINER_LOGPIPE="99", _LIBCONTAINER_INITPIPE="98", OTHER="kept")
    assert "_LIBCONTAINER" not in said and "OTHER=kept" in said and said.endswith("0\n")


def test_a_caller_that_closes_all_descriptors_gets_new_ones() -> None:
    """A daemon does; the numbers of what was kept may then be anything else's."""
    script = """
python = PythonInit("nsenter._inside.pid1:main", ["true"])
targets = (Program(["true"]), {"trace": True}), (python, {})
for target, options in targets:
    assert status(target, **options) == 0
os.closerange(3, 100)
others = [os.open("/bin/false", os.O_RDONLY) for _ in range(20)]
for target, options in targets:
    assert status(target, **options) == 0
"""
    run(script)


def test_a_handler_may_send_a_signal_while_its_thread_waits() -> None:
    script = """
child = launch(BootstrapData(), Program(["sleep", "100"]))
signal.signal(signal.SIGALRM, lambda *_: child.kill())
signal.setitimer(signal.ITIMER_REAL, 0.2)
assert child.wait() == -signal.SIGKILL
child.close()
"""
    run(script)


def test_failures_under_signals_leave_no_zombie() -> None:
    script = """
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
for _ in range(2000):
    try:
        status(Program(["/nowhere"]))
    except BootstrapError as error:
        assert (error.operation, error.errno) == ("execve", 2)
signal.setitimer(signal.ITIMER_REAL, 0)
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    pass
else:
    sys.exit("a child is left")
"""
    run(script)


def test_a_python_init_hands_on_no_ignored_signal() -> None:
    script = """
print(status(PythonInit("nsenter._inside.pid1:main", ["grep", "SigIgn", "/proc/self/status"])))
"""
    assert run(script).split() == ["SigIgn:", "0000000000000000", "0"]


ZONE_TARGET = """
import time

def main(channel):
    print(time.strftime("%z", time.localtime(1_750_000_000)))
"""


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC0", "EST5EDT"])
def test_a_python_init_has_the_callers_time_zone(zone: str, tmp_path: Path) -> None:
    (tmp_path / "zone_target.py").write_text(ZONE_TARGET)
    script = """
import time
print(time.strftime("%z", time.localtime(1_750_000_000)), flush=True)
status(PythonInit("zone_target:main"))
"""
    here, there = run(script, TZ=zone, PYTHONPATH=str(tmp_path)).split()
    assert here == there
