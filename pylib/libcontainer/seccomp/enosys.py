# SPDX-License-Identifier: Apache-2.0
"""Instructions that make system calls fail with ENOSYS if the policy cannot know them.

A C library that tries a new system call and gets EPERM gives up; if it gets ENOSYS, it tries the
older call. So a call with a higher number than all that a policy names gets ENOSYS and not the
default action. The idea and its conditions come from runc's patchbpf.
"""

from __future__ import annotations

import sys
from errno import ENOSYS

from libcontainer.seccomp.policies import ACTIONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_wanted", "stub"]

_MISSING = ACTIONS["SCMP_ACT_ERRNO"] | ENOSYS
_ACTION = 0xFFFF0000  # SECCOMP_RET_ACTION_FULL
# A tracer is expected to know new system calls, and to answer ENOSYS itself.
_PERMISSIVE = [ACTIONS[f"SCMP_ACT_{name}"] for name in ("ALLOW", "LOG", "TRACE")]

# One architecture for the kernel, two for libseccomp: x32 has a bit set in all its numbers.
_X86_64 = 0xC000003E
_X32 = 0x4000003E
_X32_BIT = 0x40000000
_NEVER = 0xFFFFFFFF  # nothing is greater

# A number that does not fit into the instruction of s390 comes as that of setup(2), which nothing
# else calls, and the kernel leaves it so if it does not know the number.
_S390 = (0x00000016, 0x80000016)
_SETUP = 0

# linux/filter.h; an instruction has 8 bytes.
_SIZE = 8
_LOAD, _EQUAL, _GREATER, _BITS_SET, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
# linux/seccomp.h, struct seccomp_data.
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4


def is_wanted(default: int) -> bool:
    """Return whether unknown system calls should fail with ENOSYS under this default action.

    They should if the action, SECCOMP_RET_*, would otherwise hide from programs that they can fall
    back to an older call.
    """
    return default & _ACTION not in _PERMISSIVE and default != _MISSING


def stub(newest: Mapping[int, int]) -> bytes:
    """Return the instructions that come before the program.

    Args:
        newest: the highest number that a policy names, by libseccomp's token of the architecture.
    """
    code = b""
    if _X86_64 in newest or _X32 in newest:
        code += _x86_64(newest.get(_X86_64, _NEVER), newest.get(_X32, _NEVER))
    for token, number in newest.items():
        if token not in (_X86_64, _X32):
            code += _of_one_kind(token, number)
    return code


def _of_one_kind(architecture: int, number: int) -> bytes:
    missing = _instruction(_RETURN, _MISSING)
    tests = _instruction(_LOAD, _NUMBER_AT)
    if architecture in _S390:
        tests += _instruction(_EQUAL, _SETUP, no=1) + missing
    tests += _instruction(_GREATER, number, no=1) + missing
    return (
        _instruction(_LOAD, _ARCHITECTURE_AT)
        + _instruction(_EQUAL, architecture, no=len(tests) // _SIZE)
        + tests
    )


def _x86_64(number: int, x32_number: int) -> bytes:
    return (
        _instruction(_LOAD, _ARCHITECTURE_AT)
        + _instruction(_EQUAL, _X86_64, no=5)
        + _instruction(_LOAD, _NUMBER_AT)
        + _instruction(_BITS_SET, _X32_BIT, yes=1)
        + _instruction(_GREATER, number, yes=1, no=2)
        + _instruction(_GREATER, x32_number, no=1)
        + _instruction(_RETURN, _MISSING)
    )


def _instruction(code: int, operand: int, yes: int = 0, no: int = 0) -> bytes:
    """Return a struct sock_filter; `yes` and `no` are the numbers of instructions to skip."""
    head, operand_bytes = code.to_bytes(2, sys.byteorder), operand.to_bytes(4, sys.byteorder)
    return head + bytes((yes, no)) + operand_bytes
