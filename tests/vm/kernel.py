# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel for clouds: the one that is installed, or one from its archive, not installed.

NVMe and ext4 are built into it, so it needs no initramfs; modules are loaded where tests want them.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from debian_root import NoRoot, archive

PACKAGE = "linux-image-cloud-amd64"
# Which suites a version is looked for in.
SUITES = ("bookworm", "trixie", "sid")
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
# The packages that the image of a kernel is in; newer ones are split.
_PARTS = ("linux-image-", "linux-binary-", "linux-modules-")


class Kernel(NamedTuple):
    """A kernel's boot image, and the folder of its modules."""

    image: Path
    modules: Path


class NoKernel(Exception):
    """There is none, and none can be had; says what was tried."""


def find(cache: Path, wanted: str = "") -> Kernel:
    """A kernel, which is fetched to a folder below `cache` if it is not there.

    Args:
        wanted: a suite of Debian, or the beginning of a version that one of SUITES has; "": the
            newest of the installed kernels, or else the one of this machine's suite.

    Raises:
        NoKernel: Debian's archive does not give one either.
    """
    if not wanted:
        return _newest(Path("/")) or _newest(cache) or _fetch(_Apt(), cache)
    if wanted[0].isdigit():
        apt, wanted = _with_version(cache, wanted)
    else:
        apt = _Apt(cache / "apt", wanted)
    folder = cache / wanted
    return _newest(folder) or _fetch(apt, folder)


def _newest(root: Path) -> Kernel | None:
    images = [*(root / "boot").glob("vmlinuz-*-cloud-amd64")]
    images += root.glob("usr/lib/modules/*-cloud-amd64/vmlinuz")
    for image in sorted(images, key=_version, reverse=True):
        release = image.name.removeprefix("vmlinuz-") if "-" in image.name else image.parent.name
        for folder in ("lib/modules", "usr/lib/modules"):
            modules = root / folder / release / "kernel"
            if modules.is_dir():
                return Kernel(image, modules)
    return None


def _version(image: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", image.name + image.parent.name)]


class _Apt:
    """apt as it is set up here, or with one suite alone, whose lists it keeps in a folder."""

    def __init__(self, folder: Path | None = None, suite: str = "") -> None:
        self.suite = suite
        self._options: tuple[str, ...] = ()
        if folder is not None:
            self._options = _set_up(folder / suite, suite)
            self.run("apt-get", "update", "-qq")

    def run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        return _run(program, *self._options, *words, cwd=cwd)

    def depends(self, package: str) -> list[str]:
        said = self.run("apt-cache", "depends", "--important", package)
        return re.findall(r"Depends: (\S+)", said)

    def image_package(self) -> str:
        """The package that the one which only names the newest depends on."""
        names = [name for name in self.depends(PACKAGE) if name.startswith("linux-image-")]
        if not names and not self.suite and os.geteuid() == 0:
            self.run("apt-get", "update", "-qq")
            names = [name for name in self.depends(PACKAGE) if name.startswith("linux-image-")]
        if not names:
            raise NoKernel(f"apt-cache knows no {PACKAGE}; try: apt-get update")
        return names[0]


def _set_up(folder: Path, suite: str) -> tuple[str, ...]:
    """Options of apt, so that it knows the suite and nothing else, and changes nothing here."""
    for name in ("lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    try:
        uri = archive()
    except NoRoot as problem:
        raise NoKernel(str(problem)) from None
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={_KEYRING}] {uri} {suite} main\n")
    options = {
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        # A mirror may keep a release unchanged for longer than its Release file says.
        "Acquire::Check-Valid-Until": "false",
        "Acquire::Check-Date": "false",
    }
    return tuple(word for name, value in options.items() for word in ("-o", f"{name}={value}"))


def _with_version(cache: Path, version: str) -> tuple[_Apt, str]:
    """The apt of the first suite with such a kernel, and its name."""
    seen = []
    for suite in SUITES:
        apt = _Apt(cache / "apt", suite)
        package = apt.image_package()
        if re.match(rf"linux-image-{re.escape(version)}(\W|$)", package):
            return apt, suite
        seen.append(f"{suite} has {package}")
    raise NoKernel(f"no suite has a kernel {version}: {', '.join(seen)}")


def _fetch(apt: _Apt, folder: Path) -> Kernel:
    """Download and unpack the packages: no root, no boot loader and no hook has a part in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for package in _parts(apt):
        apt.run("apt-get", "download", "-qq", package, cwd=folder)
    for deb in folder.glob("linux-*.deb"):
        _run("dpkg-deb", "--extract", deb.name, ".", cwd=folder)
        deb.unlink()
    kernel = _newest(folder)
    if kernel is None:
        raise NoKernel(f"{PACKAGE} was unpacked in {folder}, and there is no kernel in it")
    return kernel


def _parts(apt: _Apt) -> Iterator[str]:
    image = apt.image_package()
    yield image
    release = image.removeprefix(_PARTS[0])
    yield from (name for name in apt.depends(image) if name in {f"{p}{release}" for p in _PARTS})


def _run(*argv: str, cwd: Path | None = None) -> str:
    what = f"{' '.join(argv)} (to get a kernel; installing {PACKAGE} serves as well)"
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise NoKernel(f"{what}: there is no {argv[0]} here") from None
    if done.returncode:
        raise NoKernel(f"{what}: {done.stderr.strip()}")
    return done.stdout
