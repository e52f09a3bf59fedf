# SPDX-License-Identifier: Apache-2.0
"""A Python function called in namespaces, beside one in a process of multiprocessing's."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import payload
from harness import Arm, Case, Ratio
from kit import Kit, Worker, run_program
from payload_packages import with_numpy, with_pandas

from nsenter.options import Options

__all__ = ["NEW", "case", "numpy_case", "template_case"]

NEW = "pid,ipc,uts,net,mnt"
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


def _without_image(kit: Kit, function: str, stack: ExitStack) -> Callable[[], list[float]]:
    command = kit.script("worker.py", "call", function)
    return Worker(["/usr/bin/env", "NSENTER_IMAGE=off", *command], stack).ask


def _ours(kit: Kit, stack: ExitStack) -> list[Arm]:
    from nsenter import NamespaceExecutor, call

    options = Options(new=NEW)
    warm = NamespaceExecutor(1, options=options)
    fresh = NamespaceExecutor(1, options=options, fresh=True)
    return [
        Arm("nsenter, call()", _timed(lambda: call(payload.nothing, options=options)), _QUANTITY,
            note="new namespaces and an interpreter of its own for each call"),
        Arm("nsenter, call(), no image", _without_image(kit, "nothing", stack), _QUANTITY,
            note="the same with NSENTER_IMAGE=off: the interpreter boots"),
        Arm("nsenter, executor, fresh", _submitted(fresh, stack), _QUANTITY,
            note="a fork of a warm worker, in its namespaces"),
        Arm("nsenter, executor", _submitted(warm, stack), _QUANTITY,
            note="a worker that is there, in namespaces"),
    ]  # fmt: skip


def case(kit: Kit, stack: ExitStack) -> Case:
    arms, missing = [], []
    try:
        arms = _ours(kit, stack)
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
        ("nsenter, call()", "nsenter, call(), no image"),
        ("nsenter, executor, fresh", "forkserver, process"),
        ("nsenter, executor", "forkserver, pool"),
    ]
    ratios = [Ratio(series[a], (series[b],)) for a, b in pairs if a in series]
    about = "A function that does nothing, warm, from the call until its result is there."
    return Case("Calling a function", about, arms, ratios, missing=missing, seconds=15)


def _works(arm: Arm, missing: list[str]) -> bool:
    """Whether it does once, which is its warm-up as well; else it is told among what is missing."""
    try:
        arm.measure()
    except Exception as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        missing.append(f"{arm.name}: {why}")
        return False
    return True


def numpy_case(kit: Kit, stack: ExitStack) -> Case:
    """What the imports of a large package cost a call, and who is spared them."""
    from nsenter import NamespaceExecutor, call

    options = Options(new=NEW)
    fresh = NamespaceExecutor(1, options=options, fresh=True, modules=["numpy"])
    plain = [kit.python, "-I", "-c", "import numpy; numpy.ones(100).sum()"]
    stack.enter_context(fresh)
    forks = NamespaceExecutor(1, options=options, fresh=True, preload=["numpy"])
    stack.enter_context(forks)
    arms = [
        Arm("nsenter, call()", _timed(lambda: call(with_numpy, options=options)), _QUANTITY,
            note="new namespaces, an interpreter of its own, and the import, for each call"),
        Arm("nsenter, call(), no image", _without_image(kit, "with_numpy", stack), _QUANTITY,
            note="the same with NSENTER_IMAGE=off: the interpreter boots"),
        Arm("nsenter, executor, fresh", _timed(lambda: fresh.submit(with_numpy).result()),
            _QUANTITY, note="a fork of a worker that has called it before"),
        Arm("nsenter, executor, preload, fresh",
            _timed(lambda: forks.submit(with_numpy).result()),
            _QUANTITY, note="new namespaces for each call; a fork of a template, one made ahead"),
        Arm("python3 -I -c", run_program(plain), _QUANTITY, note="no namespaces: the import alone"),
    ]  # fmt: skip
    missing: list[str] = []
    arms = [arm for arm in arms if _works(arm, missing)]
    bare = arms[-1].series()
    ratios = [Ratio(arm.series(), (bare,)) for arm in arms[:-1]]
    about = "A function that imports numpy and adds 100 numbers, from the call until its result."
    return Case("A call that needs numpy", about, arms, ratios, missing=missing, seconds=20)


_TEMPLATES = "user,pid,mnt"
_MANY = 100


def template_case(kit: Kit, stack: ExitStack) -> Case:
    """What a fork of a template costs that has imported pandas."""
    from nsenter import NamespaceExecutor

    def preloaded(workers: int, module: str) -> NamespaceExecutor:
        executor = NamespaceExecutor(workers, Options(new=_TEMPLATES), preload=[module], fresh=True)
        return stack.enter_context(executor)

    ahead, alone, many = (preloaded(n, m) for n, m in ((1, "pandas"), (1, "pandas"), (2, "numpy")))
    alone._workers._fork_ahead = lambda: None  # type: ignore[method-assign]
    arms = [
        Arm("a fork made ahead", _timed(lambda: ahead.submit(with_pandas).result()),
            _QUANTITY, note="new user, pid and mnt namespaces for each call"),
        Arm("a fork made then", _timed(lambda: alone.submit(with_pandas).result()),
            _QUANTITY, note="the same, without a spare fork"),
        Arm("os.fork()", Worker(kit.script("worker.py", "fork", "with_pandas"), stack).ask,
            _QUANTITY, note="no namespaces; a fork of a process that has imported pandas"),
        Arm(f"{_MANY} calls with numpy", _timed(lambda: _all(many, with_numpy)),
            _QUANTITY, note="new namespaces for each; two workers"),
    ]  # fmt: skip
    missing: list[str] = []
    arms = [arm for arm in arms if _works(arm, missing)]
    series = {arm.name: arm.series() for arm in arms}
    pairs = [("a fork made ahead", "os.fork()"), ("a fork made then", "os.fork()")]
    ratios = [Ratio(series[a], (series[b],)) for a, b in pairs if a in series and b in series]
    about = "A function that makes a pandas.Series, from the call until its result."
    return Case("A call in a fork of a template", about, arms, ratios, missing=missing, seconds=20)


def _all(executor: Any, function: Callable[[], object]) -> None:
    for future in [executor.submit(function) for _ in range(_MANY)]:
        future.result()
