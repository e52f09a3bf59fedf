"""A container that seizes whatever joins it: attacks/seize.c, and what it says."""

from __future__ import annotations

import functools
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from needs import needs

SOURCE = Path(__file__).with_name("attacks") / "seize.c"
# More than a test takes; who made the container ends it before.
SECONDS = 600
# A joiner that was seized so late that there was little to see of it is no evidence. A program is
# executed after some 20 stops, an interpreter has made more than 100 by then.
OF_A_PROGRAM, OF_AN_INTERPRETER = 8, 100
_TRIES = 80
_PATIENCE = 20.0  # until it begins
_A_LOOK = (
    0.4  # seconds for what the attacker says of a joiner that has ended; else another is tried
)


@functools.cache
def program() -> bytes:
    """The attacker, static."""
    gcc = needs("gcc", package="gcc")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "seize"
        subprocess.run([gcc, "-O1", "-static", "-o", made, SOURCE], check=True)
        return made.read_bytes()


def put_into(root: Path) -> list[str]:
    """Install the attacker in a container's root; returns the command."""
    (root / "bin" / "seize").write_bytes(program())
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


class Attacker:
    """One that runs.

    Args:
        output: the file that it writes to.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        began = self._wait_for(lambda: "waiting" in self._lines())
        assert began, f"the container does not run: {self._lines()}"

    def _lines(self) -> list[str]:
        return self._output.read_text().splitlines() if self._output.exists() else []

    def _wait_for(self, there: Callable[[], bool], seconds: float = _PATIENCE) -> bool:
        deadline = time.monotonic() + seconds
        while not there():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def seized_by(
        self,
        join: Callable[[], object],
        least: int = OF_AN_INTERPRETER,
        sees: Callable[[Joiner], bool] = lambda _: True,
    ) -> Joiner:
        """Have something join until it was seized early enough, and `sees` is true of it."""
        for _ in range(_TRIES):
            known = len(self._seized())
            join()
            self._wait_for(lambda: len(self._seized()) > known, _A_LOOK)  # noqa: B023
            for joiner in self._seized()[known:]:
                if joiner.looks >= least and sees(joiner):
                    return joiner
        raise AssertionError(f"nothing was seized early enough: {self._lines()[-20:]}")

    def names(self) -> set[str]:
        """Of all processes that were looked at."""
        return {line.split()[2] for line in self._lines() if line.startswith("caps ")}

    def _seized(self) -> list[Joiner]:
        found: dict[int, Joiner] = {}
        ended = []
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
                ended.append(joiner)
        return ended
