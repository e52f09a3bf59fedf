# SPDX-License-Identifier: Apache-2.0
"""A program in `nsenter.Sandbox`, with limits of its whole tree; and the reset of an overlay."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness import Arm, Case, Ratio
from kit import Kit, run_program

import nsenter
from cases.sandboxing import bwrap_command
from nsenter import presets
from nsenter.sandbox import Sandbox

__all__ = ["limits_case", "reset_case"]

_TARGET = 0.8
_NOTES = {
    "Sandbox.run, limits": "of memory and of processes, by a cgroup; verdict and usage",
    "Sandbox.run": "the same without limits",
    "bwrap": "the same files, without limits; as a program, whose output nobody reads",
}


def _run(box: Sandbox, noop: Path) -> Callable[[], tuple[int]]:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        result = box.run([noop])
        ended = time.perf_counter_ns()
        assert result.verdict is nsenter.Verdict.EXITED, result
        return (ended - started,)

    return measure


def _bwrap(kit: Kit, missing: list[str]) -> list[Arm]:
    path = kit.peer("bwrap")
    if not path:
        missing.append("bwrap: not installed")
        return []
    argv = bwrap_command(path, presets.sandbox(read=[kit.noop]), kit.folder, kit.noop)
    return [Arm("bwrap", run_program(argv), note=_NOTES["bwrap"])]


def limits_case(kit: Kit, stack: ExitStack) -> Case:
    missing: list[str] = []
    limited = stack.enter_context(Sandbox(memory="512M", pids=64, read=[kit.noop]))
    free = stack.enter_context(Sandbox(read=[kit.noop]))
    arms = [
        Arm(name, _run(box, kit.noop), note=_NOTES[name])
        for name, box in (("Sandbox.run, limits", limited), ("Sandbox.run", free))
    ]
    arms += _bwrap(kit, missing)
    ours = arms[0].series()
    ratios = [
        Ratio(ours, (arm.series(),), _TARGET if arm.name == "bwrap" else None) for arm in arms[1:]
    ]
    about = (
        "A static no-op by `Sandbox.run`, from the call until its result is there: its output has "
        "been read, every process of it has ended, and the cgroup has been removed."
    )
    return Case("A sandbox with limits", about, arms, ratios, missing=missing, seconds=20)


def reset_case(kit: Kit, stack: ExitStack) -> Case:
    missing: list[str] = []
    folder = kit.folder / "workspace"
    folder.mkdir()
    box = stack.enter_context(Sandbox(workspace=folder, overlay=True))

    def reset() -> tuple[int]:
        for number in range(20):
            box.write(f"file-{number}", b"x" * 4096)
        started = time.perf_counter_ns()
        box.reset()
        return (time.perf_counter_ns() - started,)

    arms = [
        Arm("Sandbox.reset", reset, note="of an overlay with 20 new files"),
        *_bwrap(kit, missing),
    ]
    ratios = [Ratio(arms[0].series(), (arm.series(),)) for arm in arms[1:]]
    about = (
        "All changes of an overlay are forgotten, which should take a millisecond at most. bwrap "
        "starts a no-op meanwhile, so that there is something to compare the time with."
    )
    return Case("The reset of a workspace", about, arms, ratios, missing=missing, seconds=10)
