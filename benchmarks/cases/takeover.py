# SPDX-License-Identifier: Apache-2.0
"""The interpreter takes over as the init, beside a launch and an interpreter one after another."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from harness import Arm, Case, Ratio
from kit import Kit, run_program

from cases.launching import EXECUTED, five_namespaces, launch_arm
from nsenter._interpreter.command import interpreter_path
from nsenter.bootstrap import BootstrapData
from nsenter.launch import PythonInit, launch

__all__ = ["case"]


def _take_over(data: BootstrapData, target: PythonInit) -> Callable[[], tuple[int]]:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        child = launch(data, target)
        ready = time.perf_counter_ns()
        with child:
            pass
        return (ready - started,)

    return measure


def case(kit: Kit, stack: ExitStack) -> Case:
    data = five_namespaces()
    take_over = _take_over(data, PythonInit("payload:main"))
    ours = Arm("launch(PythonInit)", take_over, ("→ first line",))
    # With something to do that takes the stages: else there is no nsinit.
    staged = data.replace(oom_score_adj=0)
    program = launch_arm(kit, staged, "launch(Program) by nsinit")
    bare = run_program([interpreter_path(), "-I", "-S", "-c", "pass"])
    python = Arm("python -I -S -c pass", bare, note="its end included; no namespaces")
    ratios = [
        Ratio(ours.series(), (program.series(), python.series()), 1.05),
        Ratio(ours.series(), (program.series(EXECUTED), python.series())),
        Ratio(ours.series(), (python.series(),)),
    ]
    about = (
        "In five new namespaces, until `launch()` returns: the init is about to call its target. "
        "The target is beside the sum of a no-op launched through the stages, by nsinit, and a "
        "bare interpreter, each waited for."
    )
    return Case("Python as the init", about, [ours, program, python], ratios, seconds=20)
