# SPDX-License-Identifier: Apache-2.0
"""A Python function called in namespaces, beside one in a process of multiprocessing's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import payload
from harness import Arm, Case, Ratio
from kit import Kit, Worker

from nsenter.options import Options

__all__ = ["case"]

_NEW = "pid,ipc,uts,net,mnt"
_QUANTITY = ("→ result",)


def _timed(work: Callable[[], object]) -> Callable[[], tuple[int]]:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - started,)

    return measure


def _submitted(executor: Any, stack: ExitStack) -> Callable[[], tuple[int]]:
    stack.enter_context(executor)
    executor.submit(payload.nothing).result()  # its worker is there
    return _timed(lambda: executor.submit(payload.nothing).result())


def _ours(stack: ExitStack) -> list[Arm]:
    from nsenter import NamespaceExecutor, call

    options = Options(new=_NEW)
    warm = NamespaceExecutor(1, options=options)
    fresh = NamespaceExecutor(1, options=options, fresh=True)
    return [
        Arm("nsenter, call()", _timed(lambda: call(payload.nothing, options=options)), _QUANTITY,
            note="new namespaces and an interpreter of its own for each call"),
        Arm("nsenter, executor, fresh", _submitted(fresh, stack), _QUANTITY,
            note="a fork of a warm worker, in its namespaces"),
        Arm("nsenter, executor", _submitted(warm, stack), _QUANTITY,
            note="a worker that is there, in namespaces"),
    ]  # fmt: skip


def case(kit: Kit, stack: ExitStack) -> Case:
    arms, missing = [], []
    try:
        arms = _ours(stack)
    except ImportError as error:
        missing.append(f"nsenter: {error}")
    arms += [
        Arm("forkserver, process", Worker(kit.script("forkserver.py", "process"), stack).ask,
            _QUANTITY, note="no namespaces; a fork of a warm interpreter, no value comes back"),
        Arm("forkserver, pool", Worker(kit.script("forkserver.py", "pool"), stack).ask,
            _QUANTITY, note="no namespaces; a worker that is there"),
    ]  # fmt: skip
    series = {arm.name: arm.series() for arm in arms}
    pairs = [
        ("nsenter, call()", "forkserver, process"),
        ("nsenter, executor, fresh", "forkserver, process"),
        ("nsenter, executor", "forkserver, pool"),
    ]
    ratios = [Ratio(series[a], (series[b],)) for a, b in pairs if a in series]
    about = "A function that does nothing, warm, from the call until its result is there."
    return Case("Calling a function", about, arms, ratios, missing=missing, seconds=15)
