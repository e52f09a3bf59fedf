# SPDX-License-Identifier: Apache-2.0
"""What the filter denies is listed, and nothing else about a run is different because of it."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import json
import os
import platform
import struct
import sys
import threading
from pathlib import Path

import pytest

import filtered
import rootless
from launching import PYTHONPATH
from nsenter import Result, Sandbox, Verdict, seccomp
from nsenter._sandbox.denials import MOST
from nsenter._sandbox.explain_filter import evaluate
from nsenter._sandbox.parts import Part

LONG = 60.0
NUMBERS = seccomp._numbers(seccomp._ARCHITECTURES[platform.machine()][1])
GETPPID = {"x86_64": 110, "aarch64": 173}[platform.machine()]

CALLS = """
import ctypes, json, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
def made(number, *arguments):
    ctypes.set_errno(0)
    words = [word if isinstance(word, bytes) else ctypes.c_long(word) for word in arguments]
    return -ctypes.get_errno() if call(ctypes.c_long(number), *words) < 0 else 0
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", CALLS + code]


def explained(code: str, **options: object) -> Result:
    with Sandbox(timeout=LONG, **options) as box:  # type: ignore[arg-type]
        return box.run(python(code), explain=True)


def shown(result: Result) -> list[tuple[object, ...]]:
    return [(d.call, d.error, d.path, d.arguments, d.count) for d in result.denied]


# ---- what is listed

ASKED = {
    "a path": ("made({mount}, b'from', b'/over', b'', 5, 0)", "mount", "EPERM", "/over", (5,)),
    "a relative path": ("made({chroot}, b'there')", "chroot", "EPERM", "there", ()),
    "an empty path": ("made({chroot}, b'')", "chroot", "EPERM", "", ()),
    "flags": ("made({unshare}, 0x10000000)", "unshare", "EPERM", None, (0x10000000,)),
    "a namespace": ("made({setns}, 77, 0x20000)", "setns", "EPERM", None, (0x20000,)),
    "a family": ("made({socket}, 40, 1, 0)", "socket", "EAFNOSUPPORT", None, (40, 1, 0)),
    "an old call": ("made({clone3}, 0, 0)", "clone3", "ENOSYS", None, ()),
    "a call of the future": ("made(999)", "syscall 999", "ENOSYS", None, ()),
    "a pointer to nothing": ("made({chroot}, 8)", "chroot", "EPERM", None, ()),
    "a pointer into the kernel": ("made({chroot}, -4096)", "chroot", "EPERM", None, ()),
    "no pointer": ("made({chroot}, 0)", "chroot", "EPERM", None, ()),
    "bytes": ("made({chroot}, b'\\xff\\x1b[1m')", "chroot", "EPERM", "\udcff\x1b[1m", ()),
    "a long path": ("made({chroot}, b'x' * 9000)", "chroot", "EPERM", "x" * 4096, ()),
}


@pytest.mark.parametrize("name", ASKED)
def test_a_denied_call_is_listed(name: str) -> None:
    code, call, error, path, arguments = ASKED[name]
    result = explained(f"print({code.format(**NUMBERS)})")
    assert (call, error, path, arguments, 1) in shown(result)
    assert result.stdout.decode() == f"{-getattr(errno, error)}\n"
    assert (result.verdict, result.returncode) == (Verdict.EXITED, 0)


def test_a_denial_says_who_made_the_call_and_how_often() -> None:
    code = "print(os.getpid(), [made({chroot}, b'/x') for _ in range(7)])".format(**NUMBERS)
    result = explained(code)
    (denial,) = (d for d in result.denied if d.call == "chroot")
    assert (denial.count, denial.pid) == (7, int(result.stdout.split()[0]))
    assert os.path.realpath(denial.program) == os.path.realpath(sys.executable)
    assert str(denial).startswith("chroot('/x'): EPERM by /")
    assert str(denial).endswith(", 7 times")


def test_a_denial_in_a_terminal_is_no_order_to_it() -> None:
    result = explained("made({chroot}, b'\\x1b[2J\\n')".format(**NUMBERS))
    assert all(str(denial).isprintable() for denial in result.denied)


def test_every_process_and_thread_of_a_run_is_explained() -> None:
    code = """
import threading
thread = threading.Thread(target=lambda: made({chroot}, b"thread"))
thread.start(); thread.join()
if os.fork() == 0:
    if os.fork() == 0:
        made({chroot}, b"grandchild"); os._exit(0)
    os.wait(); made({chroot}, b"child"); os._exit(0)
os.wait()
"""
    found = {denial.path for denial in explained(code.format(**NUMBERS)).denied}
    assert found >= {"thread", "child", "grandchild"}


def test_what_is_allowed_is_not_listed() -> None:
    result = explained("os.listdir('/'); open('/tmp/x', 'w').close(); os.getppid()")
    assert [d.call for d in result.denied if d.call not in ("clone3", "rseq")] == []
    with Sandbox(seccomp=None) as box:
        assert box.run(["true"], explain=True).denied == ()
    with Sandbox() as box:
        assert box.run(python("made({chroot}, b'/')".format(**NUMBERS))).denied == ()


# ---- nothing else is different


def test_every_denied_call_fails_as_it_does_unexplained() -> None:
    numbers = sorted(number for name, number in NUMBERS.items() if name not in seccomp._BY_ARGUMENT)
    code = f"print([made(number, 0, 0, 0, 0, 0) for number in {[*numbers, 460, 999]}])"
    with Sandbox(timeout=LONG) as box:
        plain, result = (box.run(python(code), explain=explain) for explain in (False, True))
    assert result.stdout == plain.stdout != b""
    assert sum(d.count for d in result.denied) >= len(numbers)


def test_a_policy_is_explained_too() -> None:
    filter = seccomp.policy("allow", {"eperm": "getppid", "enosys": "sysinfo", "kill": "chroot"})
    result = explained(f"print(made({GETPPID}))", seccomp=filter)
    assert result.stdout == b"-1\n"
    assert ("getppid", "EPERM", None, (), 1) in shown(result)
    killed = explained("made({chroot}, b'/')".format(**NUMBERS), seccomp=filter)
    assert killed.verdict is Verdict.DENIED


def test_a_run_in_the_loop_of_asyncio_is_explained() -> None:
    code = "made({chroot}, b'/a')".format(**NUMBERS)

    async def run(box: Sandbox) -> list[Result]:
        runs = (box.run_async(python(code), explain=True) for _ in range(3))
        return await asyncio.gather(*runs)

    with Sandbox(timeout=LONG) as box:
        for result in asyncio.run(run(box)):
            assert ("chroot", "EPERM", "/a", (), 1) in shown(result)


class Holding(Part):
    """A part that has something to do before the program is executed."""

    holds = True


def test_a_run_that_waits_for_its_network_is_explained() -> None:
    result = explained("made({chroot}, b'/a')".format(**NUMBERS), network=Holding())
    assert ("chroot", "EPERM", "/a", (), 1) in shown(result)


def test_an_ordinary_user_gets_an_explanation() -> None:
    code = f"""
import json, nsenter
with nsenter.Sandbox(limits="best effort", timeout={LONG}) as box:
    args = json.loads({json.dumps(json.dumps(python("made({chroot}, b'/a')".format(**NUMBERS))))})
    result = box.run(args, explain=True)
print([(d.call, d.error, d.path) for d in result.denied if d.call == "chroot"])
"""
    done = rootless.as_user(["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", code])
    assert (done.stdout, done.stderr) == ("[('chroot', 'EPERM', '/a')]\n", "")


def left() -> tuple[int, int]:
    return len([*Path("/proc/self/fd").iterdir()]), threading.active_count()


@pytest.mark.parametrize("args", [["true"], ["/no/such"], ["sh", "-c", "kill -9 $$"]])
def test_an_explanation_leaves_nothing(args: list[str]) -> None:
    with Sandbox(timeout=LONG) as box:
        box.run(args, explain=True)
        before = left()
        for _ in range(3):
            box.run(args, explain=True)
        assert left() == before


# ---- hostile code


def test_the_code_has_no_listener() -> None:
    """It would answer for the kernel, and list what was never asked for."""
    result = explained("print([n for n in range(999) if os.path.exists(f'/proc/self/fd/{n}')])")
    assert result.stdout == b"[0, 1, 2]\n"


def test_the_number_of_denials_is_bounded() -> None:
    more = 25
    code = "for n in range({}): made({unshare}, 0x10000000 | n << 1)"
    denied = explained(code.format(MOST + more, **NUMBERS)).denied
    assert len(denied) == MOST + 1
    assert denied[-1].call == "..."
    assert sum(d.count for d in denied) >= MOST + more


FLOOD = """
import threading
def flood():
    while True: made({chroot}, b"/x")
for _ in range(4): threading.Thread(target=flood).start()
while True:
    if os.fork() == 0: made({chroot}, b"/x"); os._exit(0)
    os.wait()
"""


def test_the_deadline_holds_when_the_code_asks_all_the_time() -> None:
    with Sandbox() as box:
        result = box.run(python(FLOOD.format(**NUMBERS)), timeout=2.0, explain=True)
    assert result.verdict is Verdict.TIMEOUT
    assert result.wall_time < 30


# ---- filters


def step(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, k)


ALLOW = step(0x06, 0x7FFF0000)
UNFIT = {
    "computed": (step(0x00, 0x7FFF0000) + step(0x16, 0), "computed"),
    "a listener": (step(0x20, 0) + step(0x15, 9999, 0, 1) + step(0x06, 0x7FC00000) + ALLOW, "own"),
    "no sendmsg": (seccomp.policy("allow", {"eperm": "sendmsg"}).code, "sendmsg"),
    "no execve": (seccomp.policy("allow", {"enosys": "execve"}).code, "execve"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_filter_that_cannot_be_explained_is_refused(name: str) -> None:
    code, word = UNFIT[name]
    with Sandbox(seccomp=code) as box, pytest.raises(ValueError, match=word):
        box.run(["true"], explain=True)


OPERATIONS = {
    "add": 0x04, "subtract": 0x14, "multiply": 0x24, "divide": 0x34, "or": 0x44, "and": 0x54,
    "shift left": 0x64, "shift right": 0x74, "negate": 0x84, "xor": 0xA4,
}  # fmt: skip
JUMPS = {"equal": 0x15, "greater": 0x25, "at least": 0x35, "any bit": 0x45}


def returning(*steps: bytes) -> bytes:
    """A filter that returns the lowest bits of what some steps leave, as an errno, for one call."""
    rest = b"".join(steps) + step(0x54, 0xFFF) + step(0x44, 0x00050000) + step(0x16, 0)
    return step(0x20, 0) + step(0x15, GETPPID, 1, 0) + ALLOW + rest


PROGRAMS = {
    **{
        f"{name} {how}": returning(step(0x20, 16), step(0x01, 3), step(code | by, 3))
        for name, code in OPERATIONS.items()
        for how, by in (("a number", 0), ("the other register", 8))
        if (name, by) != ("negate", 8)
    },
    **{
        name: returning(step(0x20, 16), step(code, 77, 1, 0), step(0x04, 1), step(0x04, 2))
        for name, code in JUMPS.items()
    },
    "memory": returning(step(0x20, 16), step(0x02, 5), step(0x00, 1), step(0x61, 5), step(0x0C, 0)),
    "registers": returning(step(0x20, 16), step(0x07, 0), step(0x00, 4), step(0x87, 0)),
    "the other register in memory": returning(step(0x01, 9), step(0x03, 2), step(0x60, 2)),
    "length": returning(step(0x80, 0)),
    "jump": returning(step(0x20, 16), step(0x05, 1), step(0x04, 1), step(0x04, 2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_filter_answers_here_as_in_the_kernel(name: str) -> None:
    code = PROGRAMS[name]
    arguments = [1, 76, 77, 78, 1000]
    answers = filtered.calls(code, 0, [(GETPPID, (argument,)) for argument in arguments])
    architecture = seccomp._ARCHITECTURES[platform.machine()][0]
    for argument, answer in zip(arguments, answers, strict=True):
        data = struct.pack("=iIQ6Q", GETPPID, architecture, 0, argument, *(0,) * 5)
        assert ctypes.c_uint32(evaluate(code, data)).value & 0xFFF == -answer
