"""Without options, run and Popen behave like those of subprocess; with options, arguments mean the
same.

CPython's own tests of subprocess run on them in `make test-suites`.
"""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import nsenter
from isolations import DIRECT, PLAIN, STAGES, each_way
from nsenter import Options, Popen

ROOT = Path(__file__).parent.parent.parent
SECONDS = 20.0
# Session, process group, umask, ignored signals and descriptors of a process.
TELL = [
    sys.executable, "-I", "-S", "-c",
    "import os; status = open('/proc/self/status').read();"
    "print(os.getsid(0), os.getpgid(0) == os.getpid(), oct(os.umask(0)),"
    "      status.split('SigIgn:')[1].split()[0], sorted(os.listdir('/proc/self/fd'))[:-1])",
]  # fmt: skip


def told(run: Callable[..., Any], *args: Any, **popen: Any) -> str:
    """What a process says of itself, by that run."""
    said: str = run(TELL, *args, stdout=PIPE, text=True, check=True, **popen).stdout
    return said


@pytest.mark.parametrize(
    "arguments",
    [
        {}, {"start_new_session": False}, {"process_group": 0}, {"process_group": None},
        {"close_fds": False}, {"close_fds": True}, {"restore_signals": False}, {"umask": -1},
        {"umask": -5}, {"umask": 0o7727}, {"process_group": -7},
        {"umask": 0o27}, {"restore_signals": True}, {"cwd": None}, {"user": None},
        {"extra_groups": None}, {"startupinfo": None}, {"pipesize": -1},
    ],
    ids=str,
)  # fmt: skip
def test_without_options_it_is_subprocess(arguments: dict[str, Any]) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert told(nsenter.run, **arguments) == told(subprocess.run, **arguments)
    finally:
        signal.signal(signal.SIGHUP, before)
        os.close(reader)
        os.close(writer)


def session(*args: Any, **popen: Any) -> bool:
    """Whether the process leads a session that is not ours."""
    return told(nsenter.run, *args, **popen).split()[0] != str(os.getsid(0))


@pytest.mark.parametrize("options", [PLAIN, Options(new="user"), Options(new="user", cwd="/")])
def test_an_argument_that_is_given_wins_also_if_it_is_subprocess_own_default(
    options: Options,
) -> None:
    assert session(options)
    assert not session(options, start_new_session=False)
    assert session(options.replace(new_session=False), start_new_session=True)
    strict = options.replace(umask=0o77)
    assert " 0o77 " in told(nsenter.run, strict)
    assert " 0o77 " not in told(nsenter.run, strict, umask=-1)


def test_none_for_a_user_leaves_the_one_of_the_options() -> None:
    options = nsenter.presets.sandbox()
    ids = {"user": None, "group": None, "extra_groups": None, "cwd": None}
    as_it_is = nsenter.check_output(["id"], options)
    assert nsenter.check_output(["id"], options, **ids) == as_it_is


@each_way
def test_a_process_group_of_its_own_and_another_one(options: Options) -> None:
    here = options.replace(new_session=False)
    said = told(nsenter.run, here, process_group=0).split()
    assert said[1] == "True"
    assert told(nsenter.run, here).split()[1] == "False"
    # The leader of a session has one already.
    assert told(nsenter.run, options, process_group=0).split()[1] == "True"


def test_a_process_joins_a_group_that_is_there() -> None:
    with Popen(["cat"], stdin=PIPE, process_group=0) as leader:
        for options in (None, Options(new="user", new_session=False)):
            with Popen(["cat"], options, stdin=PIPE, process_group=leader.pid) as other:
                assert os.getpgid(other.pid) == leader.pid
        with pytest.raises(nsenter.BootstrapError, match=f"setpgid {leader.pid + 100000}"):
            Popen(["true"], process_group=leader.pid + 100000)


@each_way
def test_a_false_close_fds_passes_what_is_inheritable(options: Options) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        script = f"echo hey > /proc/self/fd/{writer}"
        assert nsenter.run(["sh", "-c", script], options, stderr=PIPE).returncode
        assert nsenter.run(["sh", "-c", script], options, close_fds=False).returncode == 0
        assert os.read(reader, 10) == b"hey\n"
        script = f"echo hey > /proc/self/fd/{reader}"
        assert nsenter.run(["sh", "-c", script], options, close_fds=False, stderr=PIPE).returncode
        with pytest.warns(RuntimeWarning, match="pass_fds overriding close_fds"):
            nsenter.run(["true"], options, close_fds=False, pass_fds=[writer])
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize("options", [PLAIN, DIRECT, STAGES], ids=["plain", "direct", "stages"])
def test_with_options_ignored_signals_are_kept_only_on_request(options: Options) -> None:
    def ignored(**popen: Any) -> int:
        return int(nsenter.check_output(["sed", "-n", "s/SigIgn:.//p", "/proc/self/status"],
                                        options, **popen), 16)  # fmt: skip

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert ignored() == 0
        assert ignored(restore_signals=False) == sum(
            1 << number - 1 for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
        )
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_to_one_that_somebody_has_reaped_goes_nowhere() -> None:
    process = Popen(["true"])
    os.waitpid(process.pid, 0)
    process.send_signal(signal.SIGTERM)
    process.terminate()
    process.kill()


AT_A_TERMINAL = """
import signal, sys, MODULE
print("ready", flush=True)
try:
    MODULE.run(["sh", "-c", "sleep 100 & trap 'kill $!; echo cleaned; exit 0' INT; echo up; wait"])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("module", ["subprocess", "nsenter"])
def test_the_interrupt_key_reaches_the_program_and_its_caller(module: str) -> None:
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(ROOT)
        script = textwrap.dedent(AT_A_TERMINAL).replace("MODULE", module)
        os.execv(sys.executable, [sys.executable, "-c", script])
    said, has_typed = b"", False
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            said += os.read(terminal, 1000)
        except OSError:  # nobody has the other side
            break
        if b"up" in said and not has_typed:
            has_typed = bool(os.write(terminal, b"\x03"))
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0
    assert b"cleaned" in said
    assert b"interrupted" in said
