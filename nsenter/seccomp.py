# SPDX-License-Identifier: Apache-2.0
"""Programs of seccomp(2) for a process."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["encode"]

_INSTRUCTION = 8  # struct sock_filter
_MOST = 4096  # BPF_MAXINSNS


def encode(program: Any) -> tuple[bytes, int]:
    """The instructions and flags of a program: bytes, or anything with `code` (and `flags`).

    Raises:
        ValueError, TypeError: it is none, or one that needs an agent.
    """
    code, flags = getattr(program, "code", program), getattr(program, "flags", 0)
    if not isinstance(code, bytes):
        raise TypeError(f"seccomp={program!r}: expected bytes of struct sock_filter, or `.code`")
    if not code or len(code) % _INSTRUCTION or len(code) > _MOST * _INSTRUCTION:
        raise ValueError(
            f"seccomp: {len(code)} bytes are no program of 1 … {_MOST} instructions of 8"
        )
    if getattr(program, "has_listener", False):
        raise ValueError("seccomp: the program notifies an agent, which a container alone has")
    return code, flags
