# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel for clouds: the one that is installed, or one from its archive, not installed.

NVMe and ext4 are built into it, so it needs no initramfs; modules are loaded where tests want them.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

PACKAGE = "linux-image-cloud-amd64"


class Kernel(NamedTuple):
    """A kernel's boot image, and the folder of its modules."""

    image: Path
    modules: Path


class NoKernel(Exception):
    """There is none, and none can be had; says what was tried."""


def find(cache: Path) -> Kernel:
    """The newest of the installed kernels, or else of those below `cache`, fetched there if needed.

    Raises:
        NoKernel: Debian's archive does not give one either.
    """
    return _newest(Path("/")) or _newest(cache) or _fetch(cache)


def _newest(root: Path) -> Kernel | None:
    images = (root / "boot").glob("vmlinuz-*-cloud-amd64")
    for image in sorted(images, key=_version, reverse=True):
        modules = root / "lib/modules" / image.name.removeprefix("vmlinuz-") / "kernel"
        if modules.is_dir():
            return Kernel(image, modules)
    return None


def _version(image: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", image.name)]


def _fetch(cache: Path) -> Kernel:
    """Download and unpack the package: no root, no boot loader and no hook has a part in it."""
    cache.mkdir(parents=True, exist_ok=True)
    _run("apt-get", "download", "-qq", _real_package(), cwd=cache)
    for archive in cache.glob("linux-image-*.deb"):
        _run("dpkg-deb", "--extract", archive.name, ".", cwd=cache)
        archive.unlink()
    kernel = _newest(cache)
    if kernel is None:
        raise NoKernel(f"{PACKAGE} was unpacked in {cache}, and there is no kernel in it")
    return kernel


def _real_package() -> str:
    """The package that the one which only names the newest depends on."""
    pattern, argv = r"Depends: (linux-image-\S+)", ("apt-cache", "depends", "--important", PACKAGE)
    found = re.search(pattern, _run(*argv))
    if found is None and os.geteuid() == 0:
        _run("apt-get", "update", "-qq")
        found = re.search(pattern, _run(*argv))
    if found is None:
        raise NoKernel(f"apt-cache knows no {PACKAGE}; try: apt-get update")
    return found[1]


def _run(*argv: str, cwd: Path | None = None) -> str:
    what = f"{' '.join(argv)} (to get a kernel; installing {PACKAGE} serves as well)"
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoKernel(f"{what}: there is no {argv[0]} here") from None
    if done.returncode:
        raise NoKernel(f"{what}: {done.stderr.strip()}")
    return done.stdout
