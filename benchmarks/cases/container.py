# SPDX-License-Identifier: Apache-2.0
"""A container from a bundle: `run` of `true`, beside runc and crun on the very same bundle."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import Arm, Case, Ratio
from kit import Kit

_PYRUNC = Path(sys.executable).with_name("pyrunc")
_TARGET = 0.7


def _bundle(kit: Kit) -> Path:
    folder = kit.folder / "bundle"
    (folder / "rootfs/bin").mkdir(parents=True)
    shutil.copy(kit.noop, folder / "rootfs/bin/true")
    subprocess.run([_PYRUNC, "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"] |= {"terminal": False, "args": ["true"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def _runs(command: Sequence[str], bundle: Path) -> Callable[[], list[float]]:
    words = [*command, "run", "--bundle", str(bundle), f"nsenter-bench-{os.getpid()}"]
    # A cache of bytecode is part of every installation.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}

    def measure() -> list[float]:
        start = time.monotonic_ns()
        pid = os.posix_spawn(words[0], words, environment)
        _, status, usage = os.wait4(pid, 0)
        wall = time.monotonic_ns() - start
        assert status == 0, (words, status)
        return [wall, (usage.ru_utime + usage.ru_stime) * 1e9]

    return measure


def _works(command: Sequence[str], bundle: Path) -> bool:
    words = [*command, "run", "--bundle", str(bundle), f"nsenter-bench-{os.getpid()}"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def case(kit: Kit, stack: contextlib.ExitStack) -> Case:
    """Everything from the command's start to its end, with the container taken away again."""
    bundle = _bundle(kit)
    state = f"--root={kit.folder / 'state'}"
    commands = {"pyrunc run": [str(_PYRUNC), state]}
    missing = []
    for name in ("runc", "crun"):
        path = kit.peer(name)
        if path and _works([path, state], bundle):
            commands[f"{name} run"] = [path, state]
        else:
            missing.append(f"{name} (not installed, or it refuses this machine's cgroups)")
    arms = [
        Arm(name, ("wall", "processor"), _runs(words, bundle)) for name, words in commands.items()
    ]
    ratios = []
    for peer in list(commands)[1:]:
        target = _TARGET if peer == "runc run" else None
        ratios.append(Ratio("pyrunc run: wall", (f"{peer}: wall",), target))
        ratios.append(Ratio("pyrunc run: processor", (f"{peer}: processor",)))
    return Case("a container from a bundle", arms, ratios, missing)
