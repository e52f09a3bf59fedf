# SPDX-License-Identifier: Apache-2.0
"""The same launch from a parent of 1 GiB and from a small one, each a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness import Arm, Case, Ratio
from kit import Kit

__all__ = ["case"]

_WORKER = Path(__file__).parents[1] / "worker.py"
_GIB = 1 << 30
_QUANTITIES = ("→ executed", "→ waited for")


def _worker(kit: Kit, stack: ExitStack, size: int) -> Callable[[], list[int]]:
    process = stack.enter_context(
        subprocess.Popen(
            [sys.executable, _WORKER, str(size), kit.noop],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def measure() -> list[int]:
        requests.write(b"\n")
        return [int(word) for word in answers.readline().split()]

    return measure


def case(kit: Kit, stack: ExitStack) -> Case:
    small = Arm("small parent", _QUANTITIES, _worker(kit, stack, 0))
    large = Arm("parent of 1 GiB", _QUANTITIES, _worker(kit, stack, _GIB))
    pairs = list(zip(large.series(), small.series(), strict=True))
    ratios = [Ratio(pairs[0][0], (pairs[0][1],), 1.2), Ratio(pairs[1][0], (pairs[1][1],))]
    return Case("a large parent", [small, large], ratios)
