# SPDX-License-Identifier: Apache-2.0
"""A no-op in five new namespaces: our launch, the kernel alone, and other programs."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack

from harness import Arm, Case, Ratio
from kit import Kit

from nsenter.launch import Program, launch

__all__ = ["case", "launch_program", "launch_program_arm"]

_QUANTITIES = ("→ executed", "→ waited for")
_UNSHARE = ["--pid", "--fork", "--net", "--ipc", "--uts", "--mount"]
_BWRAP = [
    *("--unshare-pid", "--as-pid-1", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--dev-bind", "/", "/"),
]


def launch_program(kit: Kit) -> Callable[[], tuple[int, int]]:
    """A launch of the no-op: nanoseconds until launch() returns, and until wait() does."""
    target = Program([kit.noop])

    def measure() -> tuple[int, int]:
        started = time.perf_counter_ns()
        child = launch(kit.data, target)
        executed = time.perf_counter_ns()
        status = child.wait()
        ended = time.perf_counter_ns()
        child.close()
        assert status == 0, f"the no-op ended with {status}"
        return executed - started, ended - started

    return measure


def launch_program_arm(kit: Kit) -> Arm:
    return Arm("launch(Program)", _QUANTITIES, launch_program(kit))


def _floor_arms(kit: Kit, stack: ExitStack) -> list[Arm]:
    floor = stack.enter_context(
        subprocess.Popen(
            [kit.floor, kit.noop, str(kit.data.clone_flags)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )
    )  # fmt: skip
    assert floor.stdin is not None and floor.stdout is not None
    requests, answers = floor.stdin, floor.stdout

    def ask(mode: bytes) -> Callable[[], list[int]]:
        def measure() -> list[int]:
            requests.write(mode)
            return [int(word) for word in answers.readline().split()]

        return measure

    return [
        Arm("floor, clone3", _QUANTITIES, ask(b"f")),
        Arm("floor, as vfork", _QUANTITIES, ask(b"v")),
    ]


def _run(argv: list[str]) -> Callable[[], tuple[int]]:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        pid = os.posix_spawn(argv[0], argv, {})
        _, status = os.waitpid(pid, 0)
        ended = time.perf_counter_ns()
        assert status == 0, f"{argv} ended with wait status {status}"
        return (ended - started,)

    return measure


def _peer_arms(kit: Kit, missing: list[str]) -> list[Arm]:
    arms = []
    for name, options in (("unshare", _UNSHARE), ("bwrap", _BWRAP)):
        path = kit.peer(name)
        if path is None:
            missing.append(name)
        else:
            argv = [path, *options, str(kit.noop)]
            arms.append(Arm(name, _QUANTITIES[-1:], _run(argv)))
    return arms


def case(kit: Kit, stack: ExitStack) -> Case:
    missing: list[str] = []
    ours = launch_program_arm(kit)
    floors = _floor_arms(kit, stack)
    peers = _peer_arms(kit, missing)
    (executed, waited), (floor_executed, floor_waited) = ours.series(), floors[0].series()
    ratios = [
        Ratio(waited, (floor_waited,), 1.5),
        Ratio(executed, (floor_executed,)),
        Ratio(waited, (floors[1].series()[1],)),
        *(Ratio(waited, tuple(peer.series())) for peer in peers),
    ]
    return Case("a no-op executed", [ours, *floors, *peers], ratios, missing)
