# SPDX-License-Identifier: Apache-2.0
"""A filter that asks instead of denying, and the answers that the original filter gives.

The kernel does not say with what a filter has answered. So where the original returns an errno, the
asking filter notifies its listener; and the listener runs the original for the same system call
once more, here.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from nsenter._host import syscalls
from nsenter._host.records import Value
from nsenter._host.syscalls import Failure
from nsenter._nsexec import lib
from nsenter.seccomp import encode

__all__ = ["AskingFilter", "asking", "evaluate"]

_STEP = struct.Struct("=HBBI")  # struct sock_filter
_WORD = struct.Struct("=I")
_MOST_ERRNO = 4095

# linux/seccomp.h: actions in the upper half of what a filter returns, and flags.
_ACTION = 0xFFFF0000
_ERRNO, _USER_NOTIF, _ALLOW, _LOG = 0x00050000, 0x7FC00000, 0x7FFF0000, 0x7FFC0000
_TSYNC, _NEW_LISTENER, _WAIT_KILLABLE, _TSYNC_ESRCH = 1 << 0, 1 << 3, 1 << 5, 1 << 4

# linux/bpf_common.h: classes, and what else is in a code.
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)
_RETURN_K, _RETURN_A = 0x06, 0x16
_ABSOLUTE, _MEMORY, _LENGTH = 0x20, 0x60, 0x80
_FROM_X = 0x08

# What the process does between the filter and its program, when nobody answers yet.
_BEFORE = {"sendmsg": lib.SYS_sendmsg, "close": lib.SYS_close, "execve": lib.SYS_execve}
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class AskingFilter(Value):
    """A filter that asks its listener, for `Options.seccomp`.

    Args:
        code: the bytes of an array of struct sock_filter.
        flags: SECCOMP_FILTER_FLAG_* of seccomp(2).
        original: the filter that denies; b"" if there is none.
    """

    code: bytes
    flags: int
    original: bytes

    def errno(self, data: bytes) -> int | None:
        """Return the errno of the original filter for a struct seccomp_data; None if it allows."""
        value = evaluate(self.original, data)
        return min(value & ~_ACTION, _MOST_ERRNO) if value & _ACTION == _ERRNO else None


def asking(seccomp: object) -> AskingFilter:
    """Return the filter that asks where `seccomp`, a value for `Options.seccomp`, denies.

    Raises:
        ValueError: the filter cannot be replaced by one that asks.
        TypeError: it is not a filter.
    """
    code, flags = encode(seccomp)
    program = b"".join(_asking_step(*step) for step in _STEP.iter_unpack(code))
    made = AskingFilter(program, _flags(flags), code)
    _check_start(made)
    return made


def _asking_step(code: int, yes: int, no: int, operand: int) -> bytes:
    if code == _RETURN_A:
        raise _unfit("returns a computed value")
    if code == _RETURN_K and operand & _ACTION == _USER_NOTIF:
        raise _unfit("has a listener of its own")
    if code == _RETURN_K and operand & _ACTION == _ERRNO:
        operand = _USER_NOTIF
    return _STEP.pack(code, yes, no, operand)


def _unfit(why: str) -> ValueError:
    return ValueError(f"explain=True requires another filter than this one, which {why}")


def _flags(flags: int) -> int:
    """Return the flags of the asking filter. The process has one thread when it is installed."""
    flags &= ~(_TSYNC | _TSYNC_ESRCH | _NEW_LISTENER)
    try:
        # Without this, a signal makes the process ask twice (Linux 5.19).
        syscalls.check_seccomp_flags(_NEW_LISTENER | _WAIT_KILLABLE)
    except Failure:
        return flags & ~_WAIT_KILLABLE
    return flags | _WAIT_KILLABLE


def _check_start(made: AskingFilter) -> None:
    """Raise ValueError if the process would wait for an answer before anybody can answer."""
    for name, number in _BEFORE.items():
        data = struct.pack("=iIQ6Q", number, _native(), 0, *(0,) * 6)
        if evaluate(made.original, data) & _ACTION not in (_ALLOW, _LOG):
            raise _unfit(f"denies {name}(2)")


def _native() -> int:
    from platform import machine

    return _ARCHITECTURES.get(machine(), 0)


# ---- the interpreter of classic BPF, as far as seccomp(2) has it


def evaluate(code: bytes, data: bytes) -> int:
    """Return what a filter returns for a system call.

    Args:
        code: the filter, which the kernel has accepted or will check.
        data: the call, a struct seccomp_data.

    Raises:
        ValueError: it is no such filter.
    """
    steps = _steps(code)
    a = x = at = 0
    memory = [0] * 16
    while at < len(steps):
        op, yes, no, k = steps[at]
        at += 1
        kind, mode = op & 7, op & 0xE0
        if kind == _RET:
            return a if op & 0x18 == 0x10 else k
        if kind in (_LD, _LDX):
            value = _loaded(mode, k, data, memory)
            a, x = (value, x) if kind == _LD else (a, value)
        elif kind in (_ST, _STX):
            memory[k] = a if kind == _ST else x
        elif kind == _ALU:
            a = _computed(op & 0xF0, a, x if op & _FROM_X else k)
        elif kind == _JMP:
            at += k if op & 0xF0 == 0 else _skipped(op & 0xF0, a, x if op & _FROM_X else k, yes, no)
        else:
            a, x = (x, x) if op & 0x80 else (a, a)
    raise ValueError("the filter has no end")


@lru_cache(maxsize=8)
def _steps(code: bytes) -> tuple[tuple[int, ...], ...]:
    return tuple(_STEP.iter_unpack(code))


def _loaded(mode: int, k: int, data: bytes, memory: list[int]) -> int:
    if mode == _ABSOLUTE:
        return int(_WORD.unpack_from(data, k)[0])
    if mode == _MEMORY:
        return memory[k]
    return len(data) if mode == _LENGTH else k


def _computed(op: int, a: int, b: int) -> int:
    """Return the result of an operation; all numbers have 32 bits."""
    found = {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: a // b if b else 0,
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << (b & 31),
        0x70: lambda: a >> (b & 31),
        0x80: lambda: -a,
        0x90: lambda: a % b if b else 0,
        0xA0: lambda: a ^ b,
    }[op]()
    return int(found) & 0xFFFFFFFF


def _skipped(op: int, a: int, b: int, yes: int, no: int) -> int:
    return yes if {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: bool(a & b)}[op] else no
