# SPDX-License-Identifier: Apache-2.0
"""Which devices a cgroup of v2 may use: a BPF program made of the rules (bpf(2)).

The kernel calls it with struct bpf_cgroup_dev_ctx: access_type (its lower half the type of the
device, its upper half the access), major, minor; what it returns is yes or no.
"""

from __future__ import annotations

import os
import sys
from errno import EPERM

from nsenter.system import Failure, address, bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from libcontainer.configs import DeviceRule

_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}
_ALL_ACCESS = 7

# Of a BPF instruction: class and operation in one byte.
_LDX_W, _MOV_IMM, _MOV_REG, _AND_IMM, _RSH_IMM = 0x61, 0xB4, 0xBC, 0x54, 0x74
_JNE_IMM, _JNE_REG, _EXIT = 0x56, 0x5E, 0x95
_R0, _R1, _KIND, _WANTED, _MAJOR, _MINOR, _SCRATCH = 0, 1, 2, 3, 4, 5, 6

_PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD_BY_ID, _PROG_QUERY = 5, 8, 9, 13, 16
_TYPE_CGROUP_DEVICE = 15
_ATTACH_CGROUP_DEVICE = 6
_ALLOW_MULTI = 2
_LOG_SIZE = 4096


def _instruction(code: int, to: int = 0, source: int = 0, jump: int = 0, value: int = 0) -> bytes:
    registers = to | source << 4
    return bytes((code, registers)) + jump.to_bytes(2, sys.byteorder) + _u32(value)


def _u32(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, sys.byteorder)


def _u64(number: int) -> bytes:
    return number.to_bytes(8, sys.byteorder)


def program(rules: Sequence[DeviceRule]) -> bytes:
    """The instructions: the last rule that speaks of all that is asked decides."""
    code = [
        _instruction(_LDX_W, _KIND, _R1, 0),
        _instruction(_MOV_REG, _WANTED, _KIND),
        _instruction(_AND_IMM, _KIND, value=0xFFFF),
        _instruction(_RSH_IMM, _WANTED, value=16),
        _instruction(_LDX_W, _MAJOR, _R1, 4),
        _instruction(_LDX_W, _MINOR, _R1, 8),
    ]
    for rule in reversed(_effective(rules)):
        code += _block(rule)
        if _is_catch_all(rule):
            return b"".join(code)
    return b"".join([*code, *_answer(False)])


def _effective(rules: Iterable[DeviceRule]) -> list[DeviceRule]:
    """Nothing before the last rule for all devices counts."""
    found: list[DeviceRule] = []
    for rule in rules:
        if _is_catch_all(rule):
            found.clear()
        found.append(rule)
    return found


def _is_catch_all(rule: DeviceRule) -> bool:
    return rule.type == "a"


def _answer(allow: bool) -> list[bytes]:
    return [_instruction(_MOV_IMM, _R0, value=int(allow)), _instruction(_EXIT)]


def _block(rule: DeviceRule) -> list[bytes]:
    """Tests that jump over the answer where the rule does not speak of what is asked."""
    tests: list[tuple[int, int, int, int]] = []  # code, register, source, value
    access = sum(_ACCESS[letter] for letter in set(rule.permissions))
    if not _is_catch_all(rule):
        tests.append((_JNE_IMM, _KIND, 0, _TYPES[rule.type]))
        if rule.major >= 0:
            tests.append((_JNE_IMM, _MAJOR, 0, rule.major))
        if rule.minor >= 0:
            tests.append((_JNE_IMM, _MINOR, 0, rule.minor))
    block: list[bytes] = []
    answer = _answer(rule.allow)
    needs_access = access != _ALL_ACCESS and not _is_catch_all(rule)
    masking = 3 if needs_access else 0
    for i, (code, register, source, value) in enumerate(tests):
        left = len(tests) - i - 1 + masking + len(answer)
        block.append(_instruction(code, register, source, left, value))
    if needs_access:
        block.append(_instruction(_MOV_REG, _SCRATCH, _WANTED))
        if rule.allow:
            # All of it must be among the rule's.
            block.append(_instruction(_AND_IMM, _SCRATCH, value=access))
            block.append(_instruction(_JNE_REG, _SCRATCH, _WANTED, len(answer)))
        else:
            # Any of it is enough to be denied: skip where none is.
            block.append(_instruction(_AND_IMM, _SCRATCH, value=access))
            block.append(_instruction(0x16, _SCRATCH, 0, len(answer), 0))  # JEQ
    return [*block, *answer]


def attach(path: str, rules: Sequence[DeviceRule], *, may_fail: bool) -> None:
    """Have the cgroup at `path` ruled by these, in the place of what it was ruled by.

    Args:
        may_fail: pass over that the caller may not, as one without privileges may not.
    """
    cgroup = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        before = _attached(cgroup)
        fd = _load(program(rules))
        try:
            _attach(cgroup, fd)
        finally:
            os.close(fd)
        for old in before:
            _detach(cgroup, old)
    except Failure as failure:
        if not (may_fail and failure.errno == EPERM):
            raise
    finally:
        os.close(cgroup)


def _load(code: bytes) -> int:
    license = b"Apache-2.0\0"
    log = bytearray(_LOG_SIZE)
    attributes = (
        _u32(_TYPE_CGROUP_DEVICE) + _u32(len(code) // 8) + _u64(address(code))
        + _u64(address(license)) + _u32(0) + _u32(0) + _u64(0)
    )  # fmt: skip
    try:
        return bpf("load a device program", _PROG_LOAD, attributes)
    except Failure as failure:
        if failure.errno == EPERM:
            raise Failure(
                "bpf", "load a device program", EPERM, "it takes CAP_BPF or CAP_SYS_ADMIN"
            ) from None
        raise
    finally:
        del log


def _attach(cgroup: int, program_fd: int) -> None:
    attributes = _u32(cgroup) + _u32(program_fd) + _u32(_ATTACH_CGROUP_DEVICE) + _u32(_ALLOW_MULTI)
    bpf("attach a device program", _PROG_ATTACH, attributes)


def _attached(cgroup: int) -> list[int]:
    """The ids of the programs on the cgroup itself."""
    ids = bytearray(4 * 64)
    attributes = bytearray(
        _u32(cgroup) + _u32(_ATTACH_CGROUP_DEVICE) + _u32(0) + _u32(0)
        + _u64(address(ids)) + _u32(64) + _u32(0) + _u64(0)
    )  # fmt: skip
    bpf("query device programs", _PROG_QUERY, attributes)
    count = int.from_bytes(attributes[24:28], sys.byteorder)
    return [int.from_bytes(ids[i * 4 : i * 4 + 4], sys.byteorder) for i in range(count)]


def _detach(cgroup: int, program_id: int) -> None:
    attributes = _u32(program_id) + _u32(0) + _u32(0)
    fd = bpf("open a device program", _PROG_GET_FD_BY_ID, attributes)
    try:
        bpf(
            "detach a device program", _PROG_DETACH,
            _u32(cgroup) + _u32(fd) + _u32(_ATTACH_CGROUP_DEVICE) + _u32(0),
        )  # fmt: skip
    finally:
        os.close(fd)
