# SPDX-License-Identifier: Apache-2.0
"""Root directories of Debian's suites, with newer C libraries and Pythons than this machine has.

mmdebstrap makes one, once, which takes some minutes; then it is kept outside the checkout, in the
directory that NSENTER_TEST_ROOTS names, by default /var/cache/nsenter-tests. To get one with newer
packages, remove its directory there. Nobody may change it: `overlaid` gives a view that can be.

As a script: debian_root.py SUITE… prints the directory of each.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

VARIABLE = "NSENTER_TEST_ROOTS"
ARCHIVE_VARIABLE = "NSENTER_DEBIAN_ARCHIVE"
DEFAULT_CACHE = "/var/cache/nsenter-tests"

# The Pythons that a suite has, its own first. A suite that is not here has its own python3 alone.
PYTHONS = {"trixie": ("3.13",), "sid": ("3.14", "3.15")}
PACKAGES = (
    *"gcc libc6-dev make strace uidmap busybox-static procps iproute2 hostname util-linux".split(),
    *"mount bsdutils bsdextrautils runc crun dbus-daemon systemd slirp4netns".split(),
    *"libseccomp2 python3 python3-venv python3-dev python3-pip python3-setuptools".split(),
    *"python3-cffi python3-pytest python3-pytest-xdist python3-hypothesis python3-numpy".split(),
    *"python3-cloudpickle python3-pyroute2 libopenblas0-pthread".split(),
)
_MODULES = "cffi, cloudpickle, numpy, pytest, hypothesis, xdist, pyroute2, setuptools"
_LEFT_OUT = ("man", "doc", "locale")  # of /usr/share
# Releases that a mirror keeps unchanged for longer than their Release files say.
_APT = ('Acquire::Check-Valid-Until "false"', 'Acquire::Check-Date "false"')


class NoRoot(Exception):
    """There is no root of a suite, and none can be made; says why and what to do."""


def debian_root(suite: str) -> Path:
    """The directory of a suite's root, which is made if it is not there.

    Raises:
        NoRoot: the caller is not root, mmdebstrap is not installed, or it fails.
    """
    if os.geteuid() != 0:
        raise NoRoot(f"a root of Debian's {suite} takes root to be made and used")
    cache = Path(os.environ.get(VARIABLE) or DEFAULT_CACHE)
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)  # it has programs that are setuid root
    packages = _packages(suite)
    recipe = "\n".join((suite, *packages, *_LEFT_OUT, _MODULES))
    root = cache / f"{suite}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with open(cache / f"{suite}.lock", "w") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not root.is_dir():
            _make(suite, packages, root)
    return root


def pythons(suite: str) -> tuple[str, ...]:
    """The programs, by which each Python of a suite is started."""
    return tuple(f"python{version}" for version in PYTHONS.get(suite, ("3",)))


@contextlib.contextmanager
def overlaid(root: Path, scratch: Path) -> Iterator[Path]:
    """A view of a root that can be changed; the changes are kept in memory until the end.

    Args:
        scratch: an empty directory. A tmpfs is mounted on it, so the caller needs a mount
            namespace of its own if others must not see it.
    """
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", scratch], check=True)
    try:
        upper, work, merged = (scratch / name for name in ("upper", "work", "root"))
        for folder in (upper, work, merged):
            folder.mkdir()
        options = f"lowerdir={root},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "none", merged], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", "--lazy", merged], check=True)
    finally:
        subprocess.run(["umount", "--lazy", scratch], check=True)


def _packages(suite: str) -> tuple[str, ...]:
    more = PYTHONS.get(suite, ())[1:]
    return (
        *PACKAGES,
        *(f"python{version}{part}" for version in more for part in ("", "-venv", "-dev")),
    )


def _make(suite: str, packages: Sequence[str], root: Path) -> None:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise NoRoot("mmdebstrap is not installed; on Debian: apt-get install mmdebstrap")
    unfinished = root.with_name(f"{root.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    print(f"Making a root of Debian's {suite} in {root}; it takes some minutes", file=sys.stderr)
    command = [program, "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
    command += [f"--aptopt={option}" for option in _APT]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _LEFT_OUT]
    command += [f"--include={','.join(packages)}", suite, str(unfinished), archive()]
    _run(command, f"to make a root of {suite}")
    for python in pythons(suite):
        _run(["chroot", str(unfinished), python, "-c", f"import {_MODULES}"], "to check the root")
    unfinished.rename(root)


def archive() -> str:
    """The archive of Debian's packages that apt uses here, or NSENTER_DEBIAN_ARCHIVE.

    Raises:
        NoRoot: apt has none.
    """
    if given := os.environ.get(ARCHIVE_VARIABLE):
        return given
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)"]
    said = _run([*command, "Created-By: Packages", "Label: Debian"], "to find Debian's archive")
    if not said:
        raise NoRoot(
            f"apt has no archive of Debian here: run apt-get update, or set {ARCHIVE_VARIABLE} "
            "to the address of one"
        )
    return said.split()[0]


def _run(command: Sequence[str], purpose: str) -> str:
    what = f"{Path(command[0]).name} ({purpose})"
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise NoRoot(f"{what}: {command[0]} is not installed") from None
    if done.returncode:
        raise NoRoot(f"{what} failed, with status {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    try:
        for name in sys.argv[1:]:
            print(debian_root(name))
    except NoRoot as problem:
        sys.exit(f"{Path(__file__).name}: {problem}")
