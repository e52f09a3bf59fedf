# SPDX-License-Identifier: Apache-2.0
"""Which devices a cgroup of v2 may use: a BPF program made of the rules (bpf(2)).

The kernel calls it with struct bpf_cgroup_dev_ctx: access_type (its lower half the type of the
device, its upper half the access), major, minor; what it returns is yes or no.
"""

from __future__ import annotations

import os
import sys
from errno import EPERM

from libcontainer.cgroups.devices import effective
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure, address, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from libcontainer.configs import DeviceRule

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}

# Of an instruction: class, operation and source in one byte (bpf/standardization).
LOAD_WORD = 0x61
MOVE_VALUE, MOVE = 0xB4, 0xBC
AND_VALUE, SHIFT_RIGHT = 0x54, 0x74
JUMP, JUMP_IF_NOT, JUMP_IF_ANY = 0x05, 0x55, 0x45
EXIT = 0x95
_RESULT, _CONTEXT, _KIND, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_MOST_PROGRAMS = 64  # on one cgroup (BPF_CGROUP_MAX_PROGS)
_LONGEST_LOG = 1 << 16


def _instruction(code: int, to: int = 0, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    low, high = (source, to) if sys.byteorder == "big" else (to, source)
    return bytes((code, low | high << 4)) + jump.to_bytes(2, sys.byteorder) + _u32(value)


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, sys.byteorder)


def _u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)


def program(rules: Iterable[DeviceRule]) -> bytes:
    """Return the instructions of a program that decides over access to devices.

    For each letter of the access, the last rule that names the device and the letter decides. The
    access is allowed if every letter is. The program goes from the last rule to the first: a rule
    that allows removes its letters from the wanted ones, and a rule that denies ends the program if
    one of its letters is still wanted.
    """
    default, rest = effective(rules)
    code = [
        _instruction(LOAD_WORD, _KIND, _CONTEXT, 0),
        _instruction(MOVE, _WANTED, _KIND),
        _instruction(AND_VALUE, _KIND, value=0xFFFF),
        _instruction(SHIFT_RIGHT, _WANTED, value=16),
        _instruction(LOAD_WORD, _MAJOR, _CONTEXT, 4),
        _instruction(LOAD_WORD, _MINOR, _CONTEXT, 8),
    ]
    for rule in reversed(rest):
        code += _block(rule)
    return b"".join([*code, *_answer(default)])


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(MOVE_VALUE, _RESULT, value=int(allow)), _instruction(EXIT)]


def _block(rule: DeviceRule) -> list[bytes]:
    """One rule: tests that jump over its verdict where it is not of this device."""
    tests = [(_KIND, _TYPES[rule.type])]
    tests += [(_MAJOR, rule.major)] if rule.major >= 0 else []
    tests += [(_MINOR, rule.minor)] if rule.minor >= 0 else []
    verdict = _verdict(rule)
    block = []
    for left, (register, value) in zip(reversed(range(len(tests))), tests, strict=True):
        block.append(_instruction(JUMP_IF_NOT, register, jump=left + len(verdict), value=value))
    return block + verdict


def _verdict(rule: DeviceRule) -> list[bytes]:
    letters = sum(_ACCESS[letter] for letter in set(rule.permissions))
    answer = _answer(rule.allow)
    if rule.allow:
        keep = _instruction(AND_VALUE, _WANTED, value=~letters)
        skip = _instruction(JUMP_IF_NOT, _WANTED, jump=len(answer), value=0)
        return [keep, skip, *answer]
    hit = _instruction(JUMP_IF_ANY, _WANTED, jump=1, value=letters)
    skip = _instruction(JUMP, jump=len(answer))
    return [hit, skip, *answer]


def attach(path: str, rules: Iterable[DeviceRule]) -> None:
    """Have the cgroup at `path` ruled by these, in the place of what it was ruled by.

    What was there goes last, so that at no moment more is allowed than before or after.

    Raises:
        Failure: the kernel refuses.
    """
    cgroup = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = attached(cgroup)
        fd = load(program(rules))
        try:
            _change(_PROG_ATTACH, f"attach a device program to {path}", cgroup, fd, _ALLOW_MULTI)
        finally:
            close(fd)
        for old in before:
            _detach(path, cgroup, old)
    finally:
        close(cgroup)


def load(code: bytes) -> int:
    """Have the kernel check a program. Returns its descriptor, which is close-on-exec.

    Raises:
        Failure: it is refused; says what the verifier says.
    """
    try:
        return _load(code, b"")
    except Failure as failure:
        if failure.errno == EPERM:
            why = "rules for devices take CAP_BPF or CAP_SYS_ADMIN of the host"
            raise Failure("bpf", "load a device program", EPERM, why) from None
        raise Failure("bpf", "load a device program", failure.errno or 0, _said(code)) from None


def _said(code: bytes) -> str:
    """What the verifier says to a program; "" where it is not the verifier who refuses it."""
    log = bytearray(_LONGEST_LOG)
    try:
        os.close(_load(code, log))
    except Failure:
        return log.rstrip(b"\0").decode("utf-8", "replace")
    return ""


def _load(code: bytes, log: bytes | bytearray) -> int:
    license = b"Apache-2.0\0"
    attributes = (
        _u32(_TYPE_CGROUP_DEVICE) + _u32(len(code) // 8) + _u64(address(code))
        + _u64(address(license)) + _u32(1 if log else 0) + _u32(len(log))
        + _u64(address(log) if log else 0) + bytes(8)
    )  # fmt: skip
    return bpf("load a device program", _PROG_LOAD, attributes)


def _change(command: int, what: str, cgroup: int, program_fd: int, flags: int) -> None:
    attributes = _u32(cgroup) + _u32(program_fd) + _u32(_ATTACH_CGROUP_DEVICE) + _u32(flags)
    bpf(what, command, attributes)


def attached(cgroup: int) -> list[int]:
    """The ids of the device programs on the cgroup itself, by its descriptor."""
    ids = bytearray(4 * _MOST_PROGRAMS)
    attributes = bytearray(
        _u32(cgroup) + _u32(_ATTACH_CGROUP_DEVICE) + bytes(8)
        + _u64(address(ids)) + _u32(_MOST_PROGRAMS) + bytes(12)
    )  # fmt: skip
    bpf("query device programs", _PROG_QUERY, attributes)
    count = int.from_bytes(attributes[24:28], sys.byteorder)
    return [int.from_bytes(ids[i * 4 : i * 4 + 4], sys.byteorder) for i in range(count)]


def _detach(path: str, cgroup: int, program_id: int) -> None:
    attributes = _u32(program_id) + bytes(8)
    fd = bpf("open a device program", _PROG_GET_FD_BY_ID, attributes)
    try:
        _change(_PROG_DETACH, f"detach a device program from {path}", cgroup, fd, 0)
    finally:
        close(fd)
