# SPDX-License-Identifier: Apache-2.0
"""A hostile payload in a sandbox achieves nothing, although it does without the defences."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import inspect
import os
import pickle
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import call_targets
import hostile
import nsenter
import rootless
from hostile import ATTACKS, Attack, Host
from launching import PYTHONPATH, SECONDS
from nsenter import Options, presets
from nsenter._inside import worker
from nsenter._interpreter.sealed_memory import CachedDescriptor, sealed_memfd
from nsenter.calling import BadAnswer

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
from nsenter import call, presets
from nsenter._interpreter import command

def take():
    import posix
    try: posix.chmod("/proc/self/exe", 0)
    except OSError as error: return error.errno
    return "taken"

with tempfile.TemporaryDirectory() as folder:
    path = shutil.copy(command.interpreter_path(), folder)
    os.chmod(path, MODE)
    command.interpreter_path = lambda: path
    before = os.stat(path)
    answers = [call(take, options=presets.sandbox()) for _ in range(2)]
    print(len(answers), os.stat(path).st_mode == before.st_mode)
"""


@pytest.mark.parametrize("mode", [0o755, 0o555], ids=oct)
def test_a_function_takes_nobody_the_interpreter_that_the_user_owns(mode: int) -> None:
    """Neither the file nor the sealed copy, which later calls run from."""
    assert as_user(TAKE_THE_MODE.replace("MODE", str(mode))) == "2 True\n"


def test_sealed_memory_keeps_its_mode() -> None:
    has_seal = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 3)
    fd = sealed_memfd("sealed", b"", executable=True)
    try:
        with pytest.raises(PermissionError) if has_seal else contextlib.nullcontext():
            os.fchmod(fd, 0)
    finally:
        os.close(fd)


def test_memory_whose_mode_was_taken_is_made_anew() -> None:
    """Before Linux 6.3 there is no seal against that."""
    made = []

    def make() -> int:
        made.append(os.memfd_create("unsealed"))
        return made[-1]

    kept = CachedDescriptor(make)
    try:
        assert kept.get() == kept.get() == made[0]
        os.fchmod(made[0], 0)
        assert kept.get() == made[1]
    finally:
        for fd in made:
            os.close(fd)


# --- what of the caller it has --------------------------------------------------------------------

LIST = "import os; print([n for n in range(999) if os.path.exists(f'/proc/self/fd/{n}')])"
FREE = 700  # no number as high is anybody's


def test_a_descriptor_that_was_left_inheritable_does_not_arrive() -> None:
    reader, writer = os.pipe()
    try:
        os.set_inheritable(reader, True)
        passed = fcntl.fcntl(writer, fcntl.F_DUPFD, FREE)
        for pass_fds, more in (((), []), ((passed,), [passed])):
            said = nsenter.check_output(
                [sys.executable, "-c", LIST], presets.sandbox(), pass_fds=pass_fds, text=True
            )
            assert ast.literal_eval(said) == [0, 1, 2, *more]
        inside = nsenter.call(call_targets.descriptors, options=presets.sandbox())
        assert inside[:3] == [0, 1, 2]
        assert len(inside) == 5, "besides: the channel, and the folder that is read"
    finally:
        for fd in (reader, writer, passed):
            os.close(fd)


def test_a_socket_that_is_passed_works_where_there_is_no_network() -> None:
    code = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).sendall(b'through')"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as ours:
            fd = ours.fileno()
            nsenter.check_call(
                [sys.executable, "-c", code, str(fd)], presets.sandbox(), pass_fds=[fd]
            )
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == b"through"


@pytest.mark.parametrize("way", ["run", "call"])
def test_nothing_of_the_callers_memory_is_in_its_own(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, told = f"ours-{os.urandom(16).hex()}", f"told-{os.urandom(16).hex()}"
    monkeypatch.setenv("OURS", ours)
    assert nsenter.call(call_targets.echo, ours) == ours  # another worker's
    options = presets.sandbox(**hostile.ALMIGHTY)  # who may look into itself
    with tempfile.TemporaryFile() as file:
        if way == "run":
            code = f"import posix\n{inspect.getsource(call_targets.dump_memory)}\ndump_memory()"
            words = [sys.executable, "-c", code, told]
            nsenter.check_call(words, options, env={}, stdout=file)
        else:
            caller = nsenter.Caller(options, env={}, stdout=file.fileno())
            caller.call(call_targets.dump_memory, told)
        file.seek(0)
        dumped = file.read()
    assert told.encode() in dumped
    assert ours.encode() not in dumped


CRASH = "import os, resource as r; r.setrlimit(r.RLIMIT_CORE, (1 << 20,) * 2); os.abort()"


def test_a_crash_leaves_nothing_with_the_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o777)
    assert nsenter.run([sys.executable, "-c", CRASH], presets.sandbox()).returncode == -6
    assert list(tmp_path.iterdir()) == []
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    if pattern[0] not in "|/\n":
        nsenter.run([sys.executable, "-c", CRASH])
        assert list(tmp_path.iterdir()) != []


class Bomb:
    """Unpickled, it makes a folder."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (self._path,)


def test_a_crafted_pickle_is_not_opened(tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    for kind in (worker.PICKLED_VALUE, worker.PICKLED_ERROR, worker.VALUE, worker.ERROR):
        with pytest.raises(BadAnswer):
            nsenter.call(call_targets.say_raw, worker.frame(kind, bomb), options=presets.sandbox())
    assert not (tmp_path / "exploded").exists()
    trusting = nsenter.Caller(presets.sandbox(), trusted=True)
    trusting.call(call_targets.say_raw, worker.frame(worker.PICKLED_VALUE, bomb))
    assert (tmp_path / "exploded").exists()


def test_a_functions_bomb_is_an_error_of_its_own() -> None:
    options = presets.sandbox(rlimits={"as": 512 << 20})
    with pytest.raises(MemoryError):
        nsenter.call(bytearray, 768 << 20, options=options)


# --- what C does ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of static programs, which others may search."""
    folder = tmp_path_factory.mktemp("programs")
    for name, source in SOURCES.items():
        (folder / f"{name}.c").write_text(source)
        words = ["gcc", "-static", "-O1", "-o", folder / name, folder / f"{name}.c"]
        subprocess.run(words, check=True)
    for place in (folder, *folder.parents[:2]):
        place.chmod(0o755)
    return folder


SOURCES = {
    # unshare(CLONE_NEWUSER), and the keyring's number, by the numbers of i386.
    "old": """
#include <stdio.h>
static long old(long number, long a, long b) {
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(a), "c"(b) : "memory");
    return number;
}
int main(void) { printf("%ld %d\\n", old(310, 0x10000000, 0), old(288, 0, -3) > 0); }
""",
    # The same by those of x32.
    "x32": """
#include <stdio.h>
#include <unistd.h>
#include <errno.h>
#include <sys/syscall.h>
int main(void) {
    long ret = syscall(0x40000000 | SYS_unshare, 0x10000000);
    printf("%d\\n", ret < 0 ? -errno : 0);
}
""",
    "who": """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%d\\n", geteuid()); }
""",
    # Words for whoever reads the terminal that is its stdin.
    "type": """
#include <stdio.h>
#include <errno.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
int main(void) {
    int plain = ioctl(0, TIOCSTI, "x") ? errno : 0;
    int high = syscall(SYS_ioctl, 0, TIOCSTI | 1L << 32, "x") ? errno : 0;
    printf("%d %d\\n", plain, high);
}
""",
}
on_x86_64 = pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86_64's other numbers")


def said(program: Path, options: Options, **popen: Any) -> str:
    text: str = nsenter.check_output([program], options, text=True, **popen)
    return text.strip()


def with_programs(programs: Path, **fields: Any) -> Options:
    return presets.sandbox(read=[programs], **fields)


@on_x86_64
def test_the_numbers_of_32_bits_lead_around_no_filter(programs: Path) -> None:
    assert said(programs / "old", with_programs(programs)) == "-38 0"
    assert said(programs / "x32", with_programs(programs)) == "-38"
    assert said(programs / "old", with_programs(programs, seccomp=None)) == "0 1"


@as_root
def test_a_setuid_program_is_nobody_too(programs: Path) -> None:
    shutil.copy(programs / "who", programs / "setuid")
    (programs / "setuid").chmod(0o4755)
    nobody = {"uid": 65534, "gid": 65534}
    assert said(programs / "setuid", with_programs(programs)) == "65534"
    assert said(programs / "setuid", with_programs(programs, no_new_privs=False, seccomp=None)) == (
        "65534"
    ), "its mount is nosuid"
    assert said(programs / "setuid", Options(**nobody, no_new_privs=True)) == "65534"
    assert said(programs / "setuid", Options(**nobody)) == "0"


TYPING = """
import fcntl, os, sys, termios, nsenter
from nsenter import presets
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
program, fields = sys.argv[1], eval(sys.argv[2])
options = presets.sandbox(read=[os.path.dirname(program)], **fields)
said = nsenter.check_output([program], options, text=True)
waiting = fcntl.ioctl(0, termios.FIONREAD, b"1234")
print(said.strip(), int.from_bytes(waiting, sys.byteorder))
"""


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, "1 1 0"),
        ({"seccomp": None}, "1 1 0"),
        ({"new_session": False}, "1 1 0"),
        ({"new_session": False, "seccomp": None}, None),
    ],
    ids=["all", "by-the-session", "by-the-filter", "by-nothing"],
)
def test_no_word_is_put_into_the_callers_terminal(
    fields: dict[str, object], expected: str | None, programs: Path
) -> None:
    """What stops it is the session alone, and the filter alone."""
    ours, theirs = os.openpty()
    try:
        attributes = termios.tcgetattr(theirs)
        attributes[3] &= ~termios.ICANON
        termios.tcsetattr(theirs, termios.TCSANOW, attributes)
        words = [sys.executable, "-c", TYPING, str(programs / "type"), repr(fields)]
        done = subprocess.run(words, stdin=theirs, stdout=subprocess.PIPE, text=True, check=True)
        if expected is None:
            allowed = Path("/proc/sys/dev/tty/legacy_tiocsti")
            has_it = not allowed.exists() or allowed.read_text() == "1\n"
            expected = "0 0 2" if has_it else "5 5 0"
        assert done.stdout.strip() == expected
    finally:
        os.close(ours)
        os.close(theirs)


# --- signals --------------------------------------------------------------------------------------

SIGNAL_ALL = """
import os, signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for group in (0, -1):
    try: os.kill(group, signal.SIGTERM)
    except OSError: pass
print("sent", flush=True)
"""
SENDING = """
import os, sys, nsenter
from nsenter import presets
os.setsid()
print(nsenter.check_output([sys.executable, "-c", sys.argv[1]], FIELDS, text=True).strip())
"""


def signals_all(fields: str) -> str:
    """What a caller says whose payload signals all that it can, and how that one ends."""
    code = SENDING.replace("FIELDS", f"presets.sandbox({fields})")
    code = f"import subprocess, sys; print(subprocess.run([sys.executable, '-c', {code!r}, \
{SIGNAL_ALL!r}], stdout=subprocess.PIPE))"
    return as_user(code)


def test_its_signals_do_not_reach_the_callers_process_group() -> None:
    """Of a user, whose payload has the same user."""
    assert "returncode=0, stdout=b'sent\\n'" in signals_all("")
    assert "returncode=-15" in signals_all("new_session=False")


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
