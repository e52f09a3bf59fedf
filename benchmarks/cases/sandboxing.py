# SPDX-License-Identifier: Apache-2.0
"""A program in a sandbox with the system's files: ours, bubblewrap, and what pip installs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness import Arm, Case, Ratio
from kit import Kit, Worker, run_program

from cases.containers import bundle_of
from nsenter import presets
from nsenter.launch import Program
from nsenter.mounts import Bind, File
from nsenter.options import Options

__all__ = ["bwrap_command", "case"]

_TARGET = 0.6
_NOTES = {
    "nsenter": "with a filter of system calls, a PID 1 and no capabilities",
    "nsenter, no filter": "the same without the filter, as bubblewrap is",
    "bwrap": "the same files, all its namespaces, a PID 1; no filter; as a program",
    "sandlock": "Landlock, a filter and a process that answers it; no namespaces, mounts or PID 1",
    "kern box": "a root directory of its own, no files of the system; a filter; as a program",
    "subprocess.Popen": "no sandbox",
}


def _launched(options: Options, noop: Path) -> Callable[[], tuple[int]]:
    target = Program([noop])

    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        with options.launch(target) as child:
            status = child.wait()
            ended = time.perf_counter_ns()
        assert status == 0, f"the no-op ended with {status}"
        return (ended - started,)

    return measure


def _plain(noop: Path) -> Callable[[], tuple[int]]:
    def measure() -> tuple[int]:
        started = time.perf_counter_ns()
        with subprocess.Popen([noop]) as process:
            status = process.wait()
            ended = time.perf_counter_ns()
        assert status == 0
        return (ended - started,)

    return measure


def bwrap_command(program: str, options: Options, folder: Path, noop: Path) -> list[str]:
    """The command for a sandbox with the same files."""
    words = [program, "--unshare-all", "--die-with-parent", "--cap-drop", "ALL", "--chdir", "/"]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for number, mount in enumerate(options.mounts):
        if isinstance(mount, Bind):
            source = Path(os.fsdecode(mount.source))
            target = os.fsdecode(mount.target or source)
            if source.is_symlink():
                words += ["--symlink", str(source.readlink()), target]
            else:
                words += ["--ro-bind", str(source), target]
        elif isinstance(mount, File):
            copy = folder / f"file-{number}"
            copy.write_text(str(mount.text))
            words += ["--ro-bind", str(copy), os.fspath(mount.target)]
    return [*words, str(noop)]


def _from_pip(kit: Kit, stack: ExitStack, missing: list[str]) -> list[Arm]:
    arms = []
    if importlib.util.find_spec("sandlock"):
        worker = Worker(kit.script("worker.py", "sandlock", kit.noop), stack)
        arms.append(Arm("sandlock", worker.ask, note=_NOTES["sandlock"]))
    else:
        missing.append("sandlock: not installed; try: pip install sandlock")
    kern = Path(kit.python).with_name("kern")
    if kern.exists():
        root = bundle_of(kit, "bundle-kern", "noop") / "rootfs"
        home = kit.folder / "kern"
        home.mkdir()
        command = [str(kern), "box", "bench", "--rm", "--rootfs", str(root), "--", "/bin/noop"]
        argv = ["/usr/bin/env", f"HOME={home}", *command]
        subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)  # what it says once
        arms.append(Arm("kern box", run_program(argv), note=_NOTES["kern box"]))
    else:
        missing.append("kern box: not installed; try: pip install kern-sandbox")
    return arms


def case(kit: Kit, stack: ExitStack) -> Case:
    options = presets.sandbox(read=[kit.noop])
    missing: list[str] = []
    arms = [
        Arm("nsenter", _launched(options, kit.noop), note=_NOTES["nsenter"]),
        Arm("nsenter, no filter", _launched(options.replace(seccomp=None), kit.noop),
            note=_NOTES["nsenter, no filter"]),
    ]  # fmt: skip
    bwrap = kit.peer("bwrap")
    if bwrap:
        argv = bwrap_command(bwrap, options, kit.folder, kit.noop)
        arms.append(Arm("bwrap", run_program(argv), note=_NOTES["bwrap"]))
    else:
        missing.append("bwrap: not installed")
    arms += _from_pip(kit, stack, missing)
    arms.append(Arm("subprocess.Popen", _plain(kit.noop), note=_NOTES["subprocess.Popen"]))
    ours = arms[0].series()
    ratios = [
        Ratio(ours, (arm.series(),), _TARGET if arm.name == "bwrap" else None) for arm in arms[1:]
    ]
    about = (
        "A static no-op in `presets.sandbox()`, from the call until it was waited for: new "
        "namespaces, an empty root with the system's programs and libraries, /proc, /dev and "
        "/tmp. The others do not all do the same, see what stands beside them; programs are "
        "measured from `posix_spawn` to `waitpid`."
    )
    return Case("A sandbox", about, arms, ratios, missing=missing, seconds=30)
