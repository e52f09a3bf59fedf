# SPDX-License-Identifier: Apache-2.0
"""The cases, in the order in which they are made. Each makes a Case; its workers, containers and
mounts end with the stack. Those that leave the kernel much to take away come last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from harness import Case
from kit import Kit

from cases import (
    calling,
    codec,
    concurrency,
    containers,
    growth,
    launching,
    limiting,
    memory,
    protocol,
    sandboxing,
    takeover,
)

__all__ = ["CASES"]

CASES: dict[str, Callable[[Kit, ExitStack], Case]] = {
    "codec": codec.case,
    "container": containers.run_case,
    "container-row": containers.run_in_a_row_case,
    "container-v2": containers.unified_case,
    "peaks": memory.peaks_case,
    "rest": memory.rest_case,
    "protocol": protocol.case,
    "all": launching.together_case,
    "but-net": launching.without_net_case,
    "single": launching.single_case,
    "sandbox": sandboxing.case,
    "sandbox-limits": limiting.limits_case,
    "sandbox-reset": limiting.reset_case,
    "python": takeover.case,
    "join": containers.join_case,
    "call": calling.case,
    "call-numpy": calling.numpy_case,
    "call-template": calling.template_case,
    "concurrency": concurrency.case,
    "caller": growth.memory_case,
    "mounts": growth.mounts_case,
    "maps": growth.maps_case,
    "joined": growth.joined_case,
    "alive": growth.alive_case,
}
