# SPDX-License-Identifier: Apache-2.0
"""A hostile payload in a sandbox gets nowhere; without what stops it, it does."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator

import pytest

import hostile
import rootless
from hostile import ATTACKS, Attack, Host
from launching import PYTHONPATH, SECONDS
from nsenter.kept import KeptDescriptor

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=[a.name for a in ATTACKS])


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    with hostile.on_the_host() as host:
        yield host


@pytest.fixture(scope="module")
def of_a_user() -> dict[str, list[object]]:
    return hostile.as_the_user()


def check(attack: Attack, found: list[object]) -> None:
    assert found[0] == attack.nowhere
    if attack.without is None:
        return
    if attack.somewhere is None:
        assert found[1] != attack.nowhere
        assert not isinstance(found[1], dict), found[1]
    else:
        assert found[1] == attack.somewhere


@as_root
@each_attack
def test_it_gets_nowhere_in_a_sandbox_of_root(attack: Attack, host: Host) -> None:
    check(attack, hostile.outcomes(attack, host))


@each_attack
def test_it_gets_nowhere_in_a_sandbox_of_a_user(
    attack: Attack, of_a_user: dict[str, list[object]]
) -> None:
    check(attack, of_a_user[attack.name])


def as_user(code: str) -> str:
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", code]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what it runs from ----------------------------------------------------------------------------

TAKE_THE_MODE = """
import os, shutil, tempfile
from nsenter import call, interpreter, presets

def take():
    import posix
    try: posix.chmod("/proc/self/exe", 0)
    except OSError as error: return error.errno
    return "taken"

with tempfile.TemporaryDirectory() as folder:
    path = shutil.copy(interpreter.interpreter_path(), folder)
    os.chmod(path, MODE)
    interpreter.interpreter_path = lambda: path
    before = os.stat(path)
    answers = [call(take, options=presets.sandbox()) for _ in range(2)]
    print(answers, os.stat(path).st_mode == before.st_mode)
"""


@pytest.mark.parametrize("mode", [0o755, 0o555], ids=oct)
def test_a_function_takes_nobody_the_interpreter_that_the_user_owns(mode: int) -> None:
    """Neither the file nor the sealed copy, which later calls run from."""
    assert as_user(TAKE_THE_MODE.replace("MODE", str(mode))) == "[1, 1] True\n"


def test_memory_whose_mode_was_taken_is_made_anew() -> None:
    """Before Linux 6.3 there is no seal against that."""
    made = []

    def make() -> int:
        made.append(os.memfd_create("unsealed"))
        return made[-1]

    kept = KeptDescriptor(make)
    try:
        assert kept.get() == kept.get() == made[0]
        os.fchmod(made[0], 0)
        assert kept.get() == made[1]
    finally:
        for fd in made:
            os.close(fd)


# --- ends -----------------------------------------------------------------------------------------

STAY = """
import ctypes, os, signal, time
for number in range(1, 65):
    if number not in (9, 19, 32, 33): signal.signal(number, signal.SIG_IGN)
for child in range(3):
    ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG
    if os.fork(): time.sleep(1000)
    if child: os.setsid()
os.write(1, b"stays\\n")
time.sleep(1000)
"""
STAYING = """
import sys, nsenter
from nsenter import presets
def execute(argv):
    import posix
    posix.execv(argv[0], argv)
argv = [sys.executable, "-c", sys.argv[1]]
"""
STARTS = {
    "run": "nsenter.run(argv, presets.sandbox())",
    "call": "nsenter.call(execute, argv, options=presets.sandbox())",
}


@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_nothing_stays_when_the_caller_is_killed(start: str) -> None:
    words = [sys.executable, "-c", STAYING + start, STAY]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as caller:
        assert caller.stdout is not None
        assert caller.stdout.readline() == b"stays\n"
        caller.kill()
        ended, _, _ = select.select([caller.stdout], [], [], SECONDS)
        assert ended, "something has its stdout still"
        assert caller.stdout.read() == b""
