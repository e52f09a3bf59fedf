"""A container that seizes whatever joins it: attacks/seize.c, and what it says."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from libcontainer.pid_namespace_join import can_be_shown
from needs import needs

ATTACKS = Path(__file__).parents[1] / "attacks"
# More than a test takes; who made the container ends it before.
SECONDS = 600
_PATIENCE = 60.0  # until the attacker begins, or has said what it saw
_HELD = 30.0  # how long a joiner waits to be seized


def _has_pidns_option() -> bool:
    """Whether a /proc can be one of another PID namespace (Linux 6.17)."""
    fd = os.open("/proc/self/ns/pid", os.O_RDONLY)
    try:
        return can_be_shown(fd)
    finally:
        os.close(fd)


_Test = TypeVar("_Test")
HAS_PIDNS_OPTION = _has_pidns_option()


def joins_last(test: _Test) -> _Test | None:
    """A test of what Linux before 6.17 cannot do (the option pidns of proc), where it is none: in
    CI, a test that is skipped has failed."""
    return test if HAS_PIDNS_OPTION else None


@functools.cache
def program(name: str) -> bytes:
    """A program of attacks/, static."""
    gcc = needs("gcc", package="gcc")
    with tempfile.TemporaryDirectory() as folder:
        made, source = Path(folder) / name, ATTACKS / f"{name}.c"
        subprocess.run([gcc, "-O1", "-static", "-o", made, source], check=True)
        return made.read_bytes()


def put_into(root: Path) -> list[str]:
    """Install the attacker in a container's root; returns the command."""
    (root / "bin" / "seize").write_bytes(program("seize"))
    (root / "bin" / "seize").chmod(0o755)
    host = Path("/").stat()
    return ["/bin/seize", str(SECONDS), str(host.st_dev), str(host.st_ino)]


@dataclass
class Joiner:
    """What the attacker saw of one process.

    Args:
        pid: in the container.
        looks: how often it looked.
        places: what it got hold of.
        capabilities: permitted, effective, and bounding, each time that they changed.
    """

    pid: int
    looks: int = 0
    places: list[str] = field(default_factory=list)
    capabilities: list[tuple[int, int, int]] = field(default_factory=list)


@contextlib.contextmanager
def held(namespace: str, seconds: float = _HELD) -> Iterator[list[int]]:
    """Stop at its birth what this process puts into a PID namespace (attacks/hold.c).

    So an attacker there cannot come too late.

    Args:
        namespace: as `/proc/PID/ns/pid` has it.
        seconds: after which what nobody has seized goes on.

    Returns:
        When the block has ended, the pids there of what was stopped.
    """
    pids: list[int] = []
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "hold"
        made.write_bytes(program("hold"))
        made.chmod(0o755)
        argv = [str(made), str(os.getpid()), namespace, str(int(seconds * 1000))]
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "ready\n"
            yield pids
            output, _ = holder.communicate()
        assert holder.returncode == 0
    pids += [int(line.split()[1]) for line in output.splitlines()]


class Attacker:
    """One that runs.

    Args:
        output: the file that it writes to.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        began = self._wait_for(lambda: bool(self._namespaces()))
        assert began, f"the container does not run: {self._lines()}"
        (self.namespace,) = self._namespaces()

    def _namespaces(self) -> list[str]:
        return [line.split()[1] for line in self._lines() if line.startswith("waiting ")]

    def _lines(self) -> list[str]:
        """Those that are there whole."""
        text = self._output.read_text() if self._output.exists() else ""
        return text.split("\n")[:-1]

    def _wait_for(self, there: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + _PATIENCE
        while not there():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def seized_by(self, join: Callable[[], object]) -> Joiner:
        """Have something join; returns what was seen of it from its first instruction on."""
        with held(self.namespace) as pids:
            join()
        assert pids, "nothing joined the container's PID namespace"
        seized = self._wait_for(lambda: pids[0] in self._seized())
        assert seized, f"{pids} were not seized: {self._lines()[-20:]}"
        return self._seized()[pids[0]]

    def names(self) -> set[str]:
        """Of all processes that were looked at."""
        return {line.split()[2] for line in self._lines() if line.startswith("caps ")}

    def _seized(self) -> dict[int, Joiner]:
        found: dict[int, Joiner] = {}
        ended = {}
        for line in self._lines():
            kind, *words = line.split()
            if kind not in ("place", "caps", "seized"):
                continue
            joiner = found.setdefault(int(words[0]), Joiner(int(words[0])))
            if kind == "place":
                joiner.places.append(" ".join(words[1:]))
            elif kind == "caps":
                permitted, effective, bounding = (int(word, 16) for word in words[-3:])
                joiner.capabilities.append((permitted, effective, bounding))
            else:
                joiner.looks = int(words[-1])
                ended[joiner.pid] = joiner
        return ended
