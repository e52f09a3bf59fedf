# SPDX-License-Identifier: Apache-2.0
"""A container from a bundle, and a further process in one: beside runc and crun."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from harness import WAITED, Arm, Case, Ratio
from kit import Kit, Worker, run_program, usage_of

from nsenter.launch import Program
from nsenter.options import Options

__all__ = [
    "bundle_of",
    "containers_with_cgroups",
    "crun_alone",
    "join_case",
    "run_case",
    "run_command",
    "run_in_a_row_case",
    "runtimes",
    "unified_case",
]

_NAME = f"nsenter-bench-{os.getpid()}"
_NULL = subprocess.DEVNULL
_USAGE = ("processor", WAITED)
_REST = 0.3
# Left to itself crun makes a cgroup by systemd or not at all; runc has no such word.
_CGROUPS = {"runc": (), "crun": ("--cgroup-manager=cgroupfs",), "pyrunc": ()}


def _pyrunc(kit: Kit) -> str:
    return str(Path(kit.python).with_name("pyrunc"))


def bundle_of(kit: Kit, name: str, program: str, *, cgroup_namespace: bool = False) -> Path:
    """A bundle as `pyrunc spec` makes one, of one program.

    Args:
        cgroup_namespace: have one, as engines and `spec` do where cgroup v2 is all there is.
    """
    folder = kit.folder / name
    (folder / "rootfs/bin").mkdir(parents=True)
    for file in (kit.noop, kit.stay):
        shutil.copy(file, folder / "rootfs/bin")
    subprocess.run([_pyrunc(kit), "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": [f"/bin/{program}"]}
    namespaces = config["linux"]["namespaces"]
    if cgroup_namespace and {"type": "cgroup"} not in namespaces:
        namespaces.append({"type": "cgroup"})
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@cache
def _make_images(pyrunc: str) -> None:
    """Make pyrunc start from memory images, if they can be made."""
    subprocess.run([pyrunc, "image"], stdout=subprocess.DEVNULL, check=False)


def runtimes(kit: Kit) -> dict[str, str]:
    """The programs of those that are installed, ours first."""
    _make_images(_pyrunc(kit))
    found = {name: kit.peer(name) for name in ("runc", "crun")}
    return {"pyrunc": _pyrunc(kit)} | {name: path for name, path in found.items() if path}


def run_command(kit: Kit, name: str, path: str, bundle: Path, *options: str) -> list[str]:
    """`run` of a bundle by a runtime."""
    state = f"--root={kit.folder / 'state' / name}"
    return [path, state, *options, "run", "--bundle", str(bundle), f"{_NAME}-{name}"]


def _complaint(argv: Sequence[str]) -> str:
    """What a command says that does not work here."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else lines[-1] if lines else f"exit {done.returncode}"


def _beside_pyrunc(arms: list[Arm], target: float | None = None) -> list[Ratio]:
    """`target` is for the time beside runc's."""
    ours, *peers = arms
    return [
        Ratio(ours.series(quantity), (peer.series(quantity),),
              target if peer.name.startswith("runc") and quantity == WAITED else None)
        for peer in peers
        for quantity in reversed(ours.quantities)
    ]  # fmt: skip


def run_case(kit: Kit, stack: ExitStack) -> Case:
    """Everything from the command's start to its end, with the container taken away again."""
    about = (
        "`run` of a no-op in a bundle as `pyrunc spec` writes it, cgroups of the machine's layout "
        f"included, from `posix_spawn` of the command to `wait4`, {_REST} s after the last: its "
        "start, the container, and its removal. *processor* is the user and system time of the "
        "command and all it waited for."
    )
    case = _run_case(kit, "bundle", "A container from a bundle", about, seconds=60)
    case.ratios, case.rest = _beside_pyrunc(case.arms, 0.7), _REST
    return case


def run_in_a_row_case(kit: Kit, stack: ExitStack) -> Case:
    about = (
        "The same, one right after the other. What moves a process into a cgroup of v1, as runc "
        "does, waits for a grace period of the kernel's unless one has been moved just before."
    )
    return _run_case(kit, "bundle-in-a-row", "Containers in a row", about, seconds=30)


def containers_with_cgroups(kit: Kit, bundle: Path, *, seconds: float) -> Case:
    """Each runtime, crun too, with a cgroup and a cgroup namespace, where cgroup v2 is all."""
    about = "`run` of a no-op, with a cgroup and a cgroup namespace, by each runtime."
    title = "A container with a cgroup, cgroup v2"
    return _case_of(kit, bundle, title, about, seconds=seconds)


def _run_case(kit: Kit, folder: str, title: str, about: str, *, seconds: float) -> Case:
    return _case_of(kit, bundle_of(kit, folder, "noop"), title, about, seconds=seconds)


def _case_of(kit: Kit, bundle: Path, title: str, about: str, *, seconds: float) -> Case:
    arms, missing = [], []
    for name, path in runtimes(kit).items():
        argv = run_command(kit, name, path, bundle, *_CGROUPS[name])
        complaint = _complaint(argv)
        if complaint:
            missing.append(f"{name}: {complaint}")
        else:
            arms.append(Arm(f"{name} run", _usage(argv), _USAGE))
    missing += [f"{name}: not installed" for name in _CGROUPS if name not in runtimes(kit)]
    return Case(title, about, arms, _beside_pyrunc(arms), missing=missing, seconds=seconds)


def _usage(argv: list[str]) -> Callable[[], tuple[float, float]]:
    def measure() -> tuple[float, float]:
        wall, processor = usage_of(argv)
        return processor, wall

    return measure


def unified_case(kit: Kit, stack: ExitStack) -> Case:
    """In a mount namespace in which /sys/fs/cgroup is cgroup v2, on whatever machine."""
    bundle = bundle_of(kit, "bundle-unified", "noop", cgroup_namespace=True)
    worker = Worker(kit.script("worker.py", "unified"), stack)
    options = {"crun": ("--cgroup-manager=disabled",)}
    notes = {"crun": "makes no cgroup", "runc": "makes a cgroup", "pyrunc": "makes a cgroup"}
    arms = []
    for name, path in runtimes(kit).items():
        argv = run_command(kit, name, path, bundle, *options.get(name, ()))
        arms.append(Arm(f"{name} run", _asked(worker, argv), _USAGE, note=notes[name]))
    about = (
        "The same where cgroup v2 is all there is, seen so in a mount namespace, and with a cgroup "
        "namespace, as engines have it there: without one a new mount of cgroup2 takes over 10 ms. "
        "crun is told to make no cgroup: what it costs without any. With one, see "
        "`make bench-vm`."
    )
    missing = [f"{name}: not installed" for name in notes if name not in runtimes(kit)]
    return Case("A container from a bundle, cgroup v2", about, arms, _beside_pyrunc(arms),
                missing=missing, seconds=40)  # fmt: skip


def _asked(worker: Worker, argv: list[str]) -> Callable[[], list[float]]:
    line = " ".join(argv)
    return lambda: worker.ask(line)[::-1]


# ---- a further process in a container that runs


def _with_a_running(kit: Kit, name: str, path: str, bundle: Path, stack: ExitStack) -> list[str]:
    """The start of a runtime's commands, with its container running until the stack ends."""
    words = [path, f"--root={kit.folder / 'state' / name}"]
    container = f"{_NAME}-{name}-joined"
    run = [*words, "run", "--detach", "--bundle", str(bundle), container]
    # No pipe: the container has its other end for as long as it runs.
    with (kit.folder / f"{name}.errors").open("w+") as errors:
        done = subprocess.run(run, stdin=_NULL, stdout=_NULL, stderr=errors, check=False)
        errors.seek(0)
        if done.returncode != 0:
            raise ChildProcessError(errors.read().strip().rpartition("\n")[2])
    delete = [*words, "delete", "--force", container]
    stack.callback(subprocess.run, delete, stdin=_NULL, stdout=_NULL, check=True)
    return words


def crun_alone(kit: Kit, stack: ExitStack, name: str, bundle: Path, command: str) -> Arm | None:
    """`crun run` or `crun exec` where crun works on every machine: see `unified_case`."""
    path = kit.peer("crun")
    if path is None:
        return None
    worker = Worker(kit.script("worker.py", "unified"), stack)
    words = [path, f"--root={kit.folder / 'state' / name}", "--cgroup-manager=disabled"]
    run, container = [*words, "run", "--bundle", str(bundle)], f"{_NAME}-{name}"
    if command == "run":
        argv = [*run, container]
    else:
        worker.ask(" ".join([*run, "--detach", container]))
        stack.callback(worker.ask, " ".join([*words, "delete", "--force", container]))
        argv = [*words, "exec", container, "/bin/noop"]
    measure = _asked(worker, argv)
    return Arm(f"crun {command}", lambda: measure()[-1:], note="makes no cgroup")


def _pid_of(words: list[str], name: str) -> int:
    container = f"{_NAME}-{name}-joined"
    done = subprocess.run([*words, "state", container], check=True, capture_output=True)
    return int(json.loads(done.stdout)["pid"])


def _join(options: Options) -> Callable[[], tuple[int]]:
    target = Program(["/bin/noop"])

    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        with options.launch(target) as child:
            status = child.wait()
            ended = time.perf_counter_ns()
        assert status == 0
        return (ended - started,)

    return measure


def _exec_by_api(
    kit: Kit, container_root: Path, *, waiting: bool = False
) -> Callable[[], tuple[int]]:
    from libcontainer import Container, Process, prebooted_init
    from libcontainer.specconv import process_from_spec
    from libcontainer.specconv.example import example

    container = Container.load(str(container_root), f"{_NAME}-pyrunc-joined")
    spec = example()["process"] | {"terminal": False, "args": ["/bin/noop"]}

    def measure() -> tuple[int]:
        init = prebooted_init() if waiting else None
        if waiting:
            time.sleep(_UNTIL_IT_WAITS)
        started = time.perf_counter_ns()
        process = Process(process_from_spec(spec), init=False, prebooted=init)
        container.run(process)
        status = process.wait()
        ended = time.perf_counter_ns()
        process.close()
        assert status == 0
        return (ended - started,)

    return measure


_UNTIL_IT_WAITS = 0.03  # seconds
# As the process of `pyrunc spec`.
_CONFINED: dict[str, Any] = {
    "uid": 0,
    "gid": 0,
    "capabilities": ("AUDIT_WRITE", "KILL", "NET_BIND_SERVICE"),
    "no_new_privs": True,
    "rlimits": {"nofile": 1024},
    "umask": 0o022,
    "cwd": "/",
}


def join_case(kit: Kit, stack: ExitStack) -> Case:
    bundle = bundle_of(kit, "bundle-joined", "stay")
    arms, missing = [], []
    commands = {}
    for name, path in runtimes(kit).items():
        if name == "crun":
            continue
        try:
            commands[name] = _with_a_running(kit, name, path, bundle, stack)
        except ChildProcessError as error:
            missing.append(f"{name} exec: {error}")
    pid = _pid_of(commands["pyrunc"], "pyrunc")
    arms = [
        Arm("nsenter, launch(join)", _join(Options(join=pid)), note="the namespaces alone"),
        Arm("nsenter, launch(join), confined", _join(Options(join=pid, **_CONFINED)),
            note="rights and limits as well, no cgroup"),
        Arm("libcontainer, exec", _exec_by_api(kit, kit.folder / "state/pyrunc"),
            note="from Python: cgroup, rights and limits as well"),
        Arm("libcontainer, exec, waiting init",
            _exec_by_api(kit, kit.folder / "state/pyrunc", waiting=True),
            note="the same, by an interpreter that was started before"),
    ]  # fmt: skip
    for name, words in commands.items():
        argv = [*words, "exec", f"{_NAME}-{name}-joined", "/bin/noop"]
        arms.append(Arm(f"{name} exec", run_program(argv)))
    crun, tool = crun_alone(kit, stack, "crun-joined", bundle, "exec"), kit.peer("nsenter")
    if crun:
        arms.append(crun)
    else:
        missing.append("crun: not installed")
    if tool:
        argv = [tool, "--target", str(pid), "--all", "/bin/noop"]
        arms.append(Arm("nsenter(1)", run_program(argv), note="the namespaces alone"))
    series = {arm.name: arm.series() for arm in arms}
    pairs = [
        ("nsenter, launch(join)", "nsenter(1)", None),
        ("nsenter, launch(join), confined", "crun exec", 0.6),
        ("libcontainer, exec, waiting init", "crun exec", None),
        ("libcontainer, exec", "crun exec", None),
        ("libcontainer, exec", "runc exec", None),
        ("pyrunc exec", "runc exec", None),
        ("pyrunc exec", "crun exec", None),
    ]
    ratios = [
        Ratio(series[above], (series[below],), target)
        for above, below, target in pairs
        if below in series
    ]
    about = (
        "A no-op in a container that runs, until it was waited for. Each runtime joins a "
        "container of its own, of the same bundle; the commands with their own start. crun's is in "
        "a mount namespace where cgroup v2 is all there is, without a cgroup."
    )
    return Case("A process more in a running container", about, arms, ratios, missing=missing,
                seconds=30)  # fmt: skip
