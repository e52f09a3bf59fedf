# SPDX-License-Identifier: Apache-2.0
"""How a launch grows: with its caller, with the host, with what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from harness import WAITED, Arm, Case, Curve, Ratio
from kit import Kit, Worker, run_program

from cases.launching import ALL, EXECUTED, all_namespaces, five_namespaces, launch_program
from nsenter._launch.child import Child
from nsenter.bootstrap import bootstrap_data
from nsenter.idmap import IDMap
from nsenter.launch import Program, launch
from nsenter.namespaces import Namespace, Namespaces, NamespaceType

__all__ = ["alive_case", "joined_case", "maps_case", "memory_case", "mounts_case"]

_MIB = 1 << 20
_QUANTITIES = (EXECUTED, WAITED)
_SIZES = (10, 128, 512, 1024, 2048)  # MiB of the caller, more or less
_MOUNTS = (30, 300, 1000, 3000)
_LINES = (1, 10, 100, 340)
_ALIVE = (1, 10, 100, 500)
_FEW_ALIVE = (1, 10, 50)


def _available() -> int:
    """MiB of memory that could be had."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    words = dict(line.split(":") for line in lines)
    return int(words["MemAvailable"].split()[0]) // 1024


def _grown(arms: Sequence[Arm], target: float | None = None, quantity: str = WAITED) -> list[Ratio]:
    return [Ratio(arms[-1].series(quantity), (arms[0].series(quantity),), target)]


def _both(places: Sequence[int], arms: Sequence[Arm]) -> list[Curve]:
    return [Curve.through(quantity, places, arms, quantity) for quantity in _QUANTITIES]


def _worker_arm(kit: Kit, stack: ExitStack, name: str, size: int, mounts: int) -> Arm:
    worker = Worker(kit.script("worker.py", "launch", size, mounts, kit.noop), stack)
    worker.ask()  # it is ready, its memory touched
    return Arm(name, worker.ask, _QUANTITIES)


def memory_case(kit: Kit, stack: ExitStack) -> Case:
    room = _available() // 2
    sizes: list[int] = []
    missing = []
    for size in _SIZES:
        if size > 10 and sum(sizes) + size > room:
            missing.append(f"a caller of {size} MiB: half of the memory would not do")
        else:
            sizes.append(size)
    arms = [_worker_arm(kit, stack, f"{size} MiB", size * _MIB, 0) for size in sizes]
    about = (
        "The same launch in five namespaces by callers of different size, in pages of 4 KiB, each "
        "a process of its own. The caller is never forked."
    )
    return Case("Growth with the caller's memory", about, arms, _grown(arms, 1.2, EXECUTED),
                axis="memory of the caller, MiB", curves=_both(sizes, arms),
                missing=missing, seconds=20)  # fmt: skip


def mounts_case(kit: Kit, stack: ExitStack) -> Case:
    arms = [_worker_arm(kit, stack, f"{count} mounts", 0, count) for count in _MOUNTS]
    about = (
        "The same launch by callers that see so many mounts more. The kernel copies them all into "
        "a new mount namespace, and takes them away again."
    )
    return Case("Growth with the host's mounts", about, arms, _grown(arms),
                axis="mounts that the caller sees", curves=_both(_MOUNTS, arms),
                seconds=20)  # fmt: skip


def _with_lines(kit: Kit, count: int) -> Callable[[], tuple[int, int]]:
    maps = tuple(IDMap(at, at, 1) for at in range(count))
    user = Namespaces([Namespace(NamespaceType.NEWUSER)])
    data = bootstrap_data(user, uid_mappings=maps, gid_mappings=maps)
    return launch_program(kit.noop, data)


def maps_case(kit: Kit, stack: ExitStack) -> Case:
    arms = [Arm(f"{n} lines", _with_lines(kit, n), _QUANTITIES) for n in _LINES]
    about = (
        "A new user namespace with so many lines in each of its two maps, 340 being the most. The "
        "message is encoded once; all stages check it."
    )
    return Case("Growth with the lines of the id maps", about, arms, _grown(arms),
                axis="lines of each map", curves=[Curve.through(WAITED, _LINES, arms)],
                seconds=10)  # fmt: skip


def _stays(kit: Kit) -> Child:
    return launch(all_namespaces(), Program([kit.stay]))


def _joining(
    kit: Kit, target: Child, kinds: Sequence[NamespaceType]
) -> Callable[[], tuple[int, int]]:
    namespaces = Namespaces(Namespace.from_fd(kind, target.pidfd) for kind in kinds)
    return launch_program(kit.noop, bootstrap_data(namespaces))


def joined_case(kit: Kit, stack: ExitStack) -> Case:
    target = stack.enter_context(_stays(kit))
    places = range(1, len(ALL) + 1)
    arms = [Arm(f"{n} joined", _joining(kit, target, ALL[:n]), _QUANTITIES) for n in places]
    tool, curves = kit.peer("nsenter"), [Curve.through("nsenter, launch(join)", places, arms)]
    peers, missing = [], []
    if tool:
        for n in places:
            options = [f"--{_TOOL_WORDS[kind.ns_name()]}" for kind in ALL[:n]]
            argv = [tool, "--target", str(target.pid), *options, str(kit.noop)]
            peers.append(Arm(f"nsenter(1), {n} joined", run_program(argv)))
        curves.append(Curve.through("nsenter(1)", places, peers))
    else:
        missing.append("nsenter(1): not installed")
    about = (
        "Joining the first so many namespaces of a process, in the order "
        f"{', '.join(kind.ns_name() for kind in ALL)}, by one pidfd."
    )
    return Case("Growth with the namespaces joined", about, [*arms, *peers], _grown(arms),
                axis="namespaces joined", curves=curves, missing=missing, seconds=15)  # fmt: skip


_TOOL_WORDS = {kind.ns_name(): kind.ns_name() for kind in ALL} | {"mnt": "mount"}


class _Alive:
    """So many processes that stay, each in all namespaces of its own."""

    def __init__(self, kit: Kit, stack: ExitStack) -> None:
        self._kit = kit
        self._stack = stack
        self._count = 0

    def be(self, count: int) -> None:
        while self._count < count:
            self._stack.enter_context(_stays(self._kit))
            self._count += 1


def alive_case(kit: Kit, stack: ExitStack) -> Case:
    alive = _Alive(kit, stack)
    places = _FEW_ALIVE if kit.quick else _ALIVE
    measure = launch_program(kit.noop, five_namespaces())
    arms = [
        Arm(f"{n} alive", measure, _QUANTITIES, prepare=lambda n=n: alive.be(n))  # type: ignore[misc]
        for n in places
    ]
    about = (
        "The same launch in five namespaces while so many processes are alive, each in all "
        "namespaces of its own. One number after the other, not interleaved."
    )
    return Case("Growth with the containers alive", about, arms, _grown(arms),
                axis="containers alive", curves=[Curve.through(WAITED, places, arms)],
                seconds=15, interleaved=False)  # fmt: skip
