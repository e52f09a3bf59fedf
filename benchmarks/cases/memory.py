# SPDX-License-Identifier: Apache-2.0
"""Memory: the peak of each process on the way, and what a container costs at rest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path

from harness import Arm, Case
from kit import Kit

from cases.containers import bundle_of, run_command, runtimes
from cases.launching import five_namespaces
from nsenter._launch.child import Child
from nsenter.launch import Program, PythonInit, launch

__all__ = ["peaks_case", "rest_case"]

_KIB = 1024
_MANY = 40
_REST = ("resident", "proportional")
# Lines of /proc/meminfo that a process makes grow and that are nobody's own memory.
_KERNEL = ("Slab", "KernelStack", "PageTables", "Percpu")


def _peaks(kit: Kit, argv: Iterable[object]) -> dict[str, float]:
    """The largest peak of each name of a process on the way, in bytes."""
    words = [str(kit.peaks), *map(str, argv)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    found: dict[str, float] = {}
    for line in done.stdout.splitlines():
        kib, name = line.split(" ", 1)
        # The no-op has no libc and no heap: what it has is not worth a line.
        if name not in ("noop", "exe"):
            found[name] = max(found.get(name, 0.0), float(kib) * _KIB)
    return found


def _peak_arm(name: str, kit: Kit, argv: list[object]) -> Arm:
    names = tuple(sorted(_peaks(kit, argv)))

    def measure() -> list[float]:
        found = _peaks(kit, argv)
        return [found.get(name, 0.0) for name in names]

    return Arm(name, measure, names)


def _runtime_commands(kit: Kit) -> dict[str, list[object]]:
    bundle = bundle_of(kit, "bundle-memory", "noop")
    return {
        f"{name} run": [*run_command(kit, name, path, bundle)]
        for name, path in runtimes(kit).items()
    }


def peaks_case(kit: Kit, stack: ExitStack) -> Case:
    commands = _runtime_commands(kit)
    for way in ("direct", "stages", "python"):
        commands[f"nsenter, {way}"] = list(kit.script("ways.py", way, 1, kit.noop))
    for name, options in (
        ("unshare", ["--pid", "--fork", "--net", "--ipc", "--uts", "--mount", "--"]),
        ("bwrap", ["--unshare-all", "--dev-bind", "/", "/"]),
    ):
        path = kit.peer(name)
        if path:
            commands[name] = [path, *options, kit.noop]
    arms, missing = [], []
    for name, argv in commands.items():
        try:
            arms.append(_peak_arm(name, kit, argv))
        except subprocess.CalledProcessError as error:
            missing.append(f"{name}: {error.stderr.strip()}")
    about = (
        "The most that each process had resident since its last `execve` (VmHWM as it ends, by "
        "`floor/peaks.c`), by the names that they give themselves. `python` is our launcher, a "
        "bare interpreter with `nsenter` imported; pages shared with others count in full."
    )
    return Case("Memory on the way", about, arms, unit="bytes", missing=missing, seconds=6)


# ---- at rest


def _descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in map(int, children) for found in _descendants(child))]


def _held(pids: Iterable[int]) -> tuple[float, float]:
    """Resident and proportional bytes of the processes together."""
    totals = {"Rss": 0, "Pss": 0}
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += int(rest.split()[0])
    return float(totals["Rss"] * _KIB), float(totals["Pss"] * _KIB)


def _resting(start: Callable[[], Child]) -> Callable[[], tuple[float, float]]:
    def measure() -> tuple[float, float]:
        with start() as child:
            return _held(_descendants(child.pid))

    return measure


def _kernel_memory() -> int:
    lines = (line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(rest.split()[0]) for name, rest in lines if name in _KERNEL) * _KIB


def _of_the_kernel(start: Callable[[], Child]) -> Callable[[], tuple[float]]:
    """What the kernel has more of, for each of many."""

    def measure() -> tuple[float]:
        with ExitStack() as many:
            before = _kernel_memory()
            for _ in range(_MANY):
                many.enter_context(start())
            return ((_kernel_memory() - before) / _MANY,)

    return measure


def _detached(kit: Kit, name: str, path: str, bundle: Path) -> Callable[[], tuple[float, float]]:
    words = [path, f"--root={kit.folder / 'state-rest' / name}"]
    container, pid_file = f"nsenter-rest-{os.getpid()}", kit.folder / f"{name}.pid"
    null = subprocess.DEVNULL
    quiet = {"stdin": null, "stdout": null, "stderr": null, "check": True}

    def measure() -> tuple[float, float]:
        run = [*words, "run", "--detach", "--pid-file", str(pid_file), "--bundle", str(bundle)]
        subprocess.run([*run, container], **quiet)  # type: ignore[call-overload]
        try:
            return _held(_descendants(int(pid_file.read_text())))
        finally:
            subprocess.run([*words, "delete", "--force", container], **quiet)  # type: ignore[call-overload]

    return measure


def rest_case(kit: Kit, stack: ExitStack) -> Case:
    data = five_namespaces()
    program = Program([kit.stay])
    python = PythonInit("payload:waiting")
    arms = [
        Arm("launch(Program)", _resting(lambda: launch(data, program)), _REST,
            note="the program alone: nothing of ours stays"),
        Arm("launch(PythonInit)", _resting(lambda: launch(data, python)), _REST),
        Arm("the kernel, five namespaces", _of_the_kernel(lambda: launch(data, program)),
            ("more for each",), note=f"slab, stacks, page tables, per-CPU; the mean of {_MANY}"),
    ]  # fmt: skip
    bundle = bundle_of(kit, "bundle-rest", "stay")
    missing = []
    for name, path in runtimes(kit).items():
        measure = _detached(kit, name, path, bundle)
        try:
            measure()
        except (subprocess.CalledProcessError, FileNotFoundError):
            missing.append(f"{name}: it makes no container here, see above")
        else:
            arms.append(Arm(f"{name} run --detach", measure, _REST,
                            note="all processes of the container"))  # fmt: skip
    about = (
        "What stays while a container runs whose program does nothing and has no libc: the "
        "processes' resident memory and their part of what is shared (Rss and Pss in "
        "`smaps_rollup`), and what the kernel holds for the namespaces."
    )
    return Case("Memory at rest", about, arms, unit="bytes", missing=missing, seconds=6)
