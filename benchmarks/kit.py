# SPDX-License-Identifier: Apache-2.0
"""What the cases need besides our own package: two C programs, the peers, a place for files."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from nsenter.bootstrap import BootstrapData, bootstrap_data
from nsenter.namespaces import Namespace, Namespaces, NamespaceType

__all__ = ["Kit", "five_namespaces", "made_kit"]

_SOURCES = Path(__file__).with_name("floor")
_WARN = ["-O2", "-Wall", "-Wextra", "-Werror"]
_FREESTANDING = [
    *("-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"),
    *("-fno-asynchronous-unwind-tables", "-Wl,--build-id=none", "-s"),
]
# Root's folders are not on every PATH.
_PEER_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
# Those of `runc spec`; it is what a container has that nobody configured.
_FIVE = (
    *(NamespaceType.NEWPID, NamespaceType.NEWNET, NamespaceType.NEWIPC),
    *(NamespaceType.NEWUTS, NamespaceType.NEWNS),
)


@dataclass(frozen=True)
class Kit:
    """
    Attributes:
        folder: for files of the run; gone behind it.
        noop: a static program that exits with 0 at once.
        floor: the floor, see floor/floor.c.
        data: five new namespaces.
    """

    folder: Path
    noop: Path
    floor: Path
    data: BootstrapData

    def peer(self, name: str) -> str | None:
        """The absolute path of a program that we are measured beside, if it is installed."""
        return shutil.which(name, path=_PEER_FOLDERS)


def five_namespaces() -> BootstrapData:
    return bootstrap_data(Namespaces(map(Namespace, _FIVE)))


def _compile(folder: Path, name: str, *options: str) -> Path:
    target = folder / name
    source = _SOURCES / f"{name}.c"
    subprocess.run(["gcc", *_WARN, *options, "-o", target, source], check=True)
    return target


@contextlib.contextmanager
def made_kit() -> Iterator[Kit]:
    """Compile what is to be compiled, in a temporary folder.

    Raises:
        FileNotFoundError, CalledProcessError: there is no gcc, or it fails.
    """
    with TemporaryDirectory(prefix="nsenter-bench-") as name:
        folder = Path(name)
        yield Kit(
            folder,
            noop=_compile(folder, "noop", *_FREESTANDING),
            floor=_compile(folder, "floor"),
            data=five_namespaces(),
        )
