# SPDX-License-Identifier: Apache-2.0
"""The interpreter takes over as the init, beside a launch and an interpreter one after another."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack

from harness import Arm, Case, Ratio
from kit import Kit

from cases.program import launch_program_arm
from nsenter.interpreter import interpreter_path
from nsenter.launch import PythonInit, launch

__all__ = ["case"]


def _take_over(kit: Kit) -> Callable[[], tuple[int]]:
    target = PythonInit("noop_init:main")

    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        child = launch(kit.data, target)
        ready = time.perf_counter_ns()
        with child:
            pass
        return (ready - started,)

    return measure


def _bare_python() -> tuple[int, int]:
    path = interpreter_path()
    argv = [path, "-I", "-S", "-c", "pass"]
    started = time.perf_counter_ns()
    pid = os.posix_spawn(path, argv, {})
    spawned = time.perf_counter_ns()
    _, status = os.waitpid(pid, 0)
    ended = time.perf_counter_ns()
    assert status == 0, f"{argv} ended with wait status {status}"
    return spawned - started, ended - started


def case(kit: Kit, stack: ExitStack) -> Case:
    ours = Arm("launch(PythonInit)", ("→ first line",), _take_over(kit))
    program = launch_program_arm(kit)
    python = Arm("python -I -S -c pass", ("→ spawned", "→ waited for"), _bare_python)
    (first_line,) = ours.series()
    executed, waited = program.series()
    _, python_waited = python.series()
    ratios = [
        Ratio(first_line, (waited, python_waited), 1.05),
        Ratio(first_line, (executed, python_waited)),
        Ratio(first_line, (python_waited,)),
    ]
    return Case("the interpreter takes over", [ours, program, python], ratios)
