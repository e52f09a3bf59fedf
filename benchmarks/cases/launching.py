# SPDX-License-Identifier: Apache-2.0
"""A no-op in new namespaces: our launch, the kernel alone, and other programs."""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness import WAITED, Arm, Case, Ratio
from kit import Kit, Worker, run_program

from cases.containers import bundle_of, crun_alone
from nsenter import idmap
from nsenter.bootstrap import BootstrapData, bootstrap_data
from nsenter.launch import Program, launch
from nsenter.namespaces import Namespace, Namespaces, NamespaceType, is_namespace_supported

__all__ = [
    "ALL",
    "all_namespaces",
    "data_for",
    "five_namespaces",
    "launch_arm",
    "launch_program",
    "single_case",
    "together_case",
    "without_net_case",
]

EXECUTED = "→ executed"
ALL = tuple(kind for kind in NamespaceType if is_namespace_supported(kind))
_FIVE = (
    *(NamespaceType.NEWPID, NamespaceType.NEWNET, NamespaceType.NEWIPC),
    *(NamespaceType.NEWUTS, NamespaceType.NEWNS),
)
_UNSHARE = {
    NamespaceType.NEWUSER: ("--user", "--map-root-user"),
    NamespaceType.NEWIPC: ("--ipc",),
    NamespaceType.NEWUTS: ("--uts",),
    NamespaceType.NEWNET: ("--net",),
    NamespaceType.NEWPID: ("--pid", "--fork"),
    NamespaceType.NEWNS: ("--mount",),
    NamespaceType.NEWCGROUP: ("--cgroup",),
    NamespaceType.NEWTIME: ("--time", "--fork"),
}
_BWRAP = {
    NamespaceType.NEWUSER: ("--unshare-user", "--uid", "0", "--gid", "0"),
    NamespaceType.NEWIPC: ("--unshare-ipc",),
    NamespaceType.NEWUTS: ("--unshare-uts",),
    NamespaceType.NEWNET: ("--unshare-net",),
    NamespaceType.NEWPID: ("--unshare-pid", "--as-pid-1"),
    NamespaceType.NEWCGROUP: ("--unshare-cgroup",),
}
_BWRAP_NOTE = "makes a root of its own and brings up loopback; has no time namespace"


def data_for(kinds: Iterable[NamespaceType]) -> BootstrapData:
    """New namespaces; in a new user namespace the caller is root."""
    namespaces = Namespaces(map(Namespace, kinds))
    if not namespaces.contains(NamespaceType.NEWUSER):
        return bootstrap_data(namespaces)
    maps = idmap.map_root()
    return bootstrap_data(namespaces, uid_mappings=maps.uid, gid_mappings=maps.gid)


def five_namespaces() -> BootstrapData:
    """Those of `runc spec`, without the cgroup's: what a container has that nobody configured."""
    return data_for(_FIVE)


def all_namespaces() -> BootstrapData:
    return data_for(ALL)


def launch_program(noop: Path, data: BootstrapData) -> Callable[[], tuple[int, int]]:
    """A launch of the no-op: nanoseconds until launch() returns, and until wait() does."""
    target = Program([noop])

    def measure() -> tuple[int, int]:
        started = time.perf_counter_ns()
        child = launch(data, target)
        executed = time.perf_counter_ns()
        status = child.wait()
        ended = time.perf_counter_ns()
        child.close()
        assert status == 0, f"the no-op ended with {status}"
        return executed - started, ended - started

    return measure


def launch_arm(kit: Kit, data: BootstrapData, name: str = "nsenter, launch()") -> Arm:
    return Arm(name, launch_program(kit.noop, data), (EXECUTED, WAITED))


def _floor_arm(floor: Worker, kinds: Iterable[NamespaceType]) -> Arm:
    flags = str(sum(kind.clone_flag for kind in kinds))
    return Arm("floor, in C", lambda: floor.ask(flags), (EXECUTED, WAITED))


def _options(
    table: dict[NamespaceType, tuple[str, ...]], kinds: Iterable[NamespaceType]
) -> list[str]:
    return [option for kind in kinds for option in table.get(kind, ())]


def _by_ctypes(kit: Kit, kinds: Iterable[NamespaceType]) -> Arm:
    """What people write who have no such package; with no regard to errors, threads or size."""
    flags = sum(kind.clone_flag for kind in kinds)
    libc = ctypes.CDLL(None, use_errno=True)
    noop, uid, gid = str(kit.noop), os.geteuid(), os.getegid()

    def inside() -> None:
        if libc.unshare(flags) < 0:
            raise OSError(ctypes.get_errno(), "unshare")
        if flags & NamespaceType.NEWUSER.clone_flag:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        pid = os.fork()
        if pid == 0:
            os.execv(noop, [noop])
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        pid = os.fork()
        if pid == 0:
            try:
                inside()
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        ended = time.perf_counter_ns()
        assert status == 0, f"ctypes: wait status {status}"
        return (ended - started,)

    return Arm("ctypes in Python", measure, note="forks the caller, once more for a pid namespace")


def _popen(kit: Kit) -> Arm:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        with subprocess.Popen([kit.noop]) as process:
            status = process.wait()
            ended = time.perf_counter_ns()
        assert status == 0
        return (ended - started,)

    return Arm("subprocess.Popen", measure, note="no namespaces at all")


def _program_arms(kit: Kit, kinds: tuple[NamespaceType, ...], missing: list[str]) -> list[Arm]:
    arms = []
    for name, table, more, note in (
        ("unshare", _UNSHARE, ["--"], "a process more where it has to --fork"),
        ("bwrap", _BWRAP, ["--dev-bind", "/", "/"], _BWRAP_NOTE),
    ):
        path = kit.peer(name)
        if path is None:
            missing.append(f"{name}: not installed")
        else:
            argv = [path, *_options(table, kinds), *more, kit.noop]
            arms.append(Arm(name, run_program(argv), note=note))
    return arms


_TARGETS = {"unshare": 0.8, "bwrap": 0.5, "crun run": 0.25}


def _many(kit: Kit, title: str, kinds: tuple[NamespaceType, ...], stack: ExitStack) -> Case:
    missing: list[str] = []
    ours = launch_arm(kit, data_for(kinds))
    floor = _floor_arm(Worker([kit.floor, kit.noop], stack), kinds)
    peers = [*_program_arms(kit, kinds, missing), _by_ctypes(kit, kinds), _popen(kit)]
    ratios = [
        Ratio(ours.series(), (floor.series(),)),
        Ratio(ours.series(EXECUTED), (floor.series(EXECUTED),)),
        *(Ratio(ours.series(), (peer.series(),)) for peer in peers),
    ]
    about = (
        "From the call until a static no-op was executed, and until it was waited for. The floor "
        "is one `clone3` with the same flags, the id maps, `execve` and `waitpid`, in C "
        "(`floor/floor.c`); the programs are measured from `posix_spawn` to `waitpid`, their own "
        "start included."
    )
    return Case(title, about, [ours, floor, *peers], ratios, missing=missing, seconds=30)


def together_case(kit: Kit, stack: ExitStack) -> Case:
    """With the targets, and a runtime: what it takes to have somebody else do it."""
    case = _many(kit, f"A no-op in all {len(ALL)} namespaces", ALL, stack)
    ours = case.arms[0]
    crun = crun_alone(kit, stack, "crun-all", bundle_of(kit, "bundle-all", "noop"), "run")
    if crun:
        crun = replace(crun, note="a whole container, without a cgroup")
        case.arms.append(crun)
        case.ratios.append(Ratio(ours.series(), (crun.series(),)))
    else:
        case.missing.append("crun: not installed")
    targets = {case.arms[1].series(): 1.6} | {f"{n}: {WAITED}": t for n, t in _TARGETS.items()}
    case.ratios = [replace(r, target=targets.get(r.below[0])) for r in case.ratios]
    return case


def without_net_case(kit: Kit, stack: ExitStack) -> Case:
    kinds = tuple(kind for kind in ALL if kind != NamespaceType.NEWNET)
    return _many(kit, "A no-op in all namespaces but net", kinds, stack)


def single_case(kit: Kit, stack: ExitStack) -> Case:
    """All kinds in one case: they share the rounds."""
    floor = Worker([kit.floor, kit.noop], stack)
    unshare = kit.peer("unshare")
    arms, ratios = [], []
    for kind in ALL:
        word = kind.ns_name()
        ours = launch_arm(kit, data_for([kind]), f"{word}: nsenter")
        least = _floor_arm(floor, [kind])
        least = Arm(f"{word}: floor", least.measure, least.quantities)
        arms += [ours, least]
        ratios.append(Ratio(ours.series(), (least.series(),)))
        if unshare:
            argv = [unshare, *_UNSHARE[kind], "--", kit.noop]
            arms.append(Arm(f"{word}: unshare", run_program(argv)))
            ratios.append(Ratio(ours.series(), (arms[-1].series(),)))
    missing = [] if unshare else ["unshare: not installed"]
    about = "As above, in one new namespace of each kind."
    return Case("A no-op in one namespace", about, arms, ratios, missing=missing, seconds=30)
