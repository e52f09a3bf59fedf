# SPDX-License-Identifier: Apache-2.0
"""The cases: each module has a `case(kit, stack)`, which makes a Case; the stack ends with the
run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from harness import Case
from kit import Kit

from cases import codec, container, large_parent, program, protocol, takeover

__all__ = ["CASES"]

CASES: dict[str, Callable[[Kit, ExitStack], Case]] = {
    "protocol": protocol.case,
    "program": program.case,
    "takeover": takeover.case,
    "large-parent": large_parent.case,
    "container": container.case,
    "codec": codec.case,
}
