# SPDX-License-Identifier: Apache-2.0
"""The NUMA nodes that a process gets its memory from (set_mempolicy(2))."""

from __future__ import annotations

import sys

from nsenter._host.syscalls import set_mempolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from libcontainer.configs import MemoryPolicy

_WORDS, _WORD = 16, 8  # a bit for each of the 1,024 nodes that the kernel can be built for


def apply(policy: MemoryPolicy) -> None:
    """Set it for this process, and for the program that it executes.

    Raises:
        Failure: this kernel or this machine does not have it; names the policy.
    """
    mask = _mask(policy.nodes, sys.byteorder) if policy.nodes else b""
    # The kernel reads one bit less than it is told.
    count = len(mask) * 8 + 1 if mask else 0
    set_mempolicy(_words(policy), policy.mode | policy.flags, mask, count)


def _mask(nodes: tuple[int, ...], byteorder: Literal["little", "big"]) -> bytes:
    """Return an array of unsigned long.

    The words have the same order on every machine, but their bytes do not.
    """
    words = [0] * _WORDS
    for node in nodes:
        words[node // (_WORD * 8)] |= 1 << node % (_WORD * 8)
    return b"".join(word.to_bytes(_WORD, byteorder) for word in words)


def _words(policy: MemoryPolicy) -> str:
    nodes = ",".join(map(str, policy.nodes)) or "none"
    return f"mode {policy.mode}, flags {policy.flags:#x}, nodes {nodes} (linux.memoryPolicy)"
