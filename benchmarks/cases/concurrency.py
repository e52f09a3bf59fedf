# SPDX-License-Identifier: Apache-2.0
"""How many starts a second: one after another, and many at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from harness import Arm, Case, Curve, Ratio
from kit import Kit, run_program

from cases.launching import five_namespaces, launch_program

__all__ = ["case"]

_AT_ONCE = (1, 2, 8, 32)
_STARTS = 64
# The words of each peer for the five namespaces. bwrap's mount namespace is always new.
_PEERS = {
    "unshare": ("--pid", "--fork", "--net", "--ipc", "--uts", "--mount", "--"),
    "bwrap": (
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
        *("--dev-bind", "/", "/", "--"),
    ),
}


def _rate(work: Callable[[], object], at_once: int, stack: ExitStack) -> Callable[[], tuple[float]]:
    pool = stack.enter_context(ThreadPoolExecutor(at_once))

    def measure() -> tuple[float]:
        started = time.perf_counter()
        futures = [pool.submit(work) for _ in range(_STARTS)]
        for future in futures:
            future.result()
        return (_STARTS / (time.perf_counter() - started),)

    return measure


def case(kit: Kit, stack: ExitStack) -> Case:
    works: dict[str, Callable[[], object]] = {
        "nsenter": launch_program(kit.noop, five_namespaces())
    }
    paths = {name: kit.peer(name) for name in _PEERS}
    for name, path in paths.items():
        if path:
            works[name] = run_program([path, *_PEERS[name], kit.noop])
    arms, curves = [], []
    for name, work in works.items():
        own = [Arm(f"{name}, {n} at once", _rate(work, n, stack), ("starts",)) for n in _AT_ONCE]
        curves.append(Curve.through(name, _AT_ONCE, own))
        arms += own
    series = {arm.name: arm.series() for arm in arms}
    ratios = [Ratio(series["nsenter, 32 at once"], (series["nsenter, 1 at once"],))]
    ratios += [
        Ratio(series[f"nsenter, {n} at once"], (series[f"{name}, {n} at once"],))
        for name in works
        if name != "nsenter"
        for n in (1, 32)
    ]
    about = (
        f"{_STARTS} starts of a no-op in five namespaces, each waited for, by so many threads of "
        "one process. More is better. The kernel makes and removes network namespaces under one "
        "lock."
    )
    missing = [f"{name}: not installed" for name, path in paths.items() if not path]
    return Case("Many starts at once", about, arms, ratios, unit="per second",
                axis="threads that start", curves=curves, missing=missing, seconds=35)  # fmt: skip
