# SPDX-License-Identifier: Apache-2.0
"""The NUMA nodes that a process gets its memory from (set_mempolicy(2))."""

from __future__ import annotations

import sys

from nsenter.system import set_mempolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import MemoryPolicy

_BYTES = 128  # a bit for each of the 1,024 nodes that the kernel can be built for


def apply(policy: MemoryPolicy) -> None:
    """Set it for this process, and for the program that it executes.

    Raises:
        Failure: this kernel or this machine does not have it; names the policy.
    """
    nodes = sum(1 << node for node in policy.nodes)
    mask = nodes.to_bytes(_BYTES, sys.byteorder) if nodes else b""
    # The kernel reads one bit less than it is told.
    count = _BYTES * 8 + 1 if nodes else 0
    set_mempolicy(_words(policy), policy.mode | policy.flags, mask, count)


def _words(policy: MemoryPolicy) -> str:
    nodes = ",".join(map(str, policy.nodes)) or "none"
    return f"mode {policy.mode}, flags {policy.flags:#x}, nodes {nodes} (linux.memoryPolicy)"
