# SPDX-License-Identifier: Apache-2.0
"""What the cases need besides our own package: C programs, peers, workers, a place for files."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Kit", "Worker", "made_kit", "run_program", "usage_of"]

_HERE = Path(__file__).parent
_WARN = ["-O2", "-Wall", "-Wextra", "-Werror", "-static"]
_FREESTANDING = [
    *("-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-s"),
]
# Root's folders are not on every PATH.
_PEER_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"


class Worker:
    """A process that measures by itself: an answer of numbers for each line that it is sent."""

    def __init__(self, argv: Sequence[str | Path], stack: ExitStack) -> None:
        self._process = stack.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        )
        # Its input ends before it is waited for.
        assert self._process.stdin is not None
        stack.callback(self._process.stdin.close)

    def ask(self, line: str = "") -> list[float]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line.encode() + b"\n")
        answer = self._process.stdout.readline()
        assert answer, f"{self._process.args!r} ended with {self._process.wait()}"
        return [float(word) for word in answer.split()]


@dataclass(frozen=True)
class Kit:
    """
    Attributes:
        folder: for files of the run; gone behind it.
        noop: a static program that exits with 0 at once.
        stay: one that never does.
        floor: the floor, see floor/floor.c.
        peaks: see floor/peaks.c.
        quick: whether the run is a trial.
    """

    folder: Path
    noop: Path
    stay: Path
    floor: Path
    peaks: Path
    quick: bool = False
    python: str = field(default=sys.executable)

    def peer(self, name: str) -> str | None:
        """The absolute path of a program that we are measured beside, if it is installed."""
        return shutil.which(name, path=_PEER_FOLDERS)

    def script(self, name: str, *arguments: object) -> list[str]:
        """The command of one of our own scripts, in a process of its own."""
        return [self.python, str(_HERE / name), *map(str, arguments)]


def _compile(folder: Path, name: str, *options: str, source: str = "") -> Path:
    target = folder / name
    file = _HERE / "floor" / f"{source or name}.c"
    subprocess.run(["gcc", *_WARN, *options, "-o", target, file], check=True)
    return target


@contextlib.contextmanager
def made_kit(*, quick: bool = False) -> Iterator[Kit]:
    """Compile what is to be compiled, in a temporary folder.

    Raises:
        FileNotFoundError, CalledProcessError: there is no gcc, or it fails.
    """
    with TemporaryDirectory(prefix="nsenter-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # for those who are root inside only
        yield Kit(
            folder,
            noop=_compile(folder, "noop", *_FREESTANDING),
            stay=_compile(folder, "stay", *_FREESTANDING, "-DSTAY", source="noop"),
            floor=_compile(folder, "floor"),
            peaks=_compile(folder, "peaks"),
            quick=quick,
        )


# A cache of bytecode is part of every installation.
_ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def usage_of(argv: list[str]) -> tuple[float, float]:
    """Run a program to its end: nanoseconds on the clock, and of the processors."""
    started = time.perf_counter_ns()
    pid = os.posix_spawn(argv[0], argv, _ENVIRONMENT)
    _, status, usage = os.wait4(pid, 0)
    ended = time.perf_counter_ns()
    assert status == 0, f"{argv} ended with wait status {status}"
    return ended - started, (usage.ru_utime + usage.ru_stime) * 1e9


def run_program(argv: Sequence[str | Path]) -> Callable[[], tuple[float]]:
    """A measurement: from posix_spawn(3) until the program was waited for."""
    words = [str(word) for word in argv]
    return lambda: usage_of(words)[:1]
