# SPDX-License-Identifier: Apache-2.0
"""A second opinion on seccomp's programs: an interpreter of BPF, as far as filters use it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

_DATA = struct.Struct("=iIQ6Q")  # linux/seccomp.h, struct seccomp_data
_INSTRUCTION = struct.Struct("=HBBI")  # linux/filter.h, struct sock_filter
_LOAD, _AND, _RETURN, _JUMP = 0x20, 0x54, 0x06, 0x05
_CONDITIONS: dict[int, Callable[[int, int], bool]] = {
    0x15: int.__eq__,
    0x25: int.__gt__,
    0x35: int.__ge__,
    0x45: lambda a, k: bool(a & k),
}


def run(code: bytes, architecture: int, number: int, args: Sequence[int] = ()) -> int:
    """SECCOMP_RET_* for a system call, as the kernel would get it from the program."""
    signed = number - 2**32 if number >= 2**31 else number
    data = _DATA.pack(signed, architecture, 0, *args, *(0,) * (6 - len(args)))
    program = list(_INSTRUCTION.iter_unpack(code))
    at = accumulator = 0
    while True:
        opcode, yes, no, operand = program[at]
        at += 1
        if opcode == _RETURN:
            return int(operand)
        if opcode == _LOAD:
            (accumulator,) = struct.unpack_from("=I", data, operand)
        elif opcode == _AND:
            accumulator &= operand
        elif opcode == _JUMP:
            at += operand
        else:
            at += yes if _CONDITIONS[opcode](accumulator, operand) else no
