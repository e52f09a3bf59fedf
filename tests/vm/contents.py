# SPDX-License-Identifier: Apache-2.0
"""Which files the guest has: tables of path in the guest → file of this machine.

Nearly all are at the path that they have here, so that the venv and the checkout work as they are.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Real programs, by the Debian package that they are of; busybox is the rest of the system.
TOOLS = {
    "apparmor_parser": "apparmor",
    "busybox": "busybox-static",
    "bash": "bash",
    "busctl": "systemd",
    "conmon": "conmon",
    "crun": "crun",
    "dbus-daemon": "dbus-daemon",
    "mount": "mount",
    "newgidmap": "uidmap",
    "newuidmap": "uidmap",
    "nsenter": "util-linux",
    "podman": "podman",
    "prlimit": "util-linux",
    "runc": "runc",
    "setpriv": "util-linux",
    "sh": "dash",  # busybox's takes its own applets for the programs of their name
    "strace": "strace",
    "systemctl": "systemd",
    "systemd": "systemd",
    "umount": "mount",
    "unshare": "util-linux",
}
# What is loaded by its name while a program runs, so that ldd does not tell of it.
LOADED = ("libgcc_s.so.1", "libseccomp.so.2")
MODULES = ("overlay", "fuse", "loop")
# Big, and nothing that is tested in the guest imports it.
NOT_OF_PYTHON = {
    *"site-packages dist-packages test tests idlelib tkinter turtledemo ensurepip lib2to3".split(),
    *"pip setuptools numpy numpy.libs mypy mypyc".split(),
}
NOT_OF_CHECKOUT = {
    *".git .venv .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist results".split()
}
MERGED = ("bin", "sbin", "lib", "lib64")  # links into /usr, in the guest

Files = dict[str, Path]

# What programs read.
_DATA = {
    path: Path(path)
    for path in (
        "/etc/containers/policy.json",
        "/usr/share/containers/containers.conf",
        "/usr/share/containers/seccomp.json",
    )
}


class Missing(Exception):
    """What the guest needs is not on this machine; names its package."""


def system(modules: Path) -> Files:
    """All but the checkout: tools, the interpreter, the venv, their libraries, kernel modules."""
    files = {f"/usr/bin/{tool}": program(tool, package) for tool, package in TOOLS.items()}
    files |= _DATA
    files |= _interpreter()
    files |= {path: Path(path).resolve() for path in _libraries(files.values())}
    files |= {f"/lib/modules/{path.name}": path for path in _modules(modules)}
    files["/etc/ld.so.cache"] = Path("/etc/ld.so.cache")
    return {_merged(path): source for path, source in files.items()}


def checkout() -> Files:
    """The project, and what was built in its folders."""
    return {str(path): path for path in _tree(ROOT, NOT_OF_CHECKOUT)}


def program(name: str, package: str) -> Path:
    """The file that is run as `name`.

    Raises:
        Missing: there is none; it is in Debian's `package`.
    """
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=folders)
    if found is None:
        raise Missing(f"{name} is not installed; on Debian: apt-get install {package}")
    return Path(found).resolve()


def _merged(path: str) -> str:
    return f"/usr{path}" if path.split("/")[1] in MERGED else path


def _modules(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*.ko*"):
        if path.name.split(".")[0] in MODULES:
            yield path


def _interpreter() -> Files:
    """The venv, the interpreter behind it (links stay links), its standard library."""
    venv = Path(sys.prefix)
    found = [venv / "pyvenv.cfg", venv / "bin/pyrunc", venv / "bin/pyrunc-start"]
    for link in (venv / "bin").glob("python*"):
        found += _chain(link)
    for folder in {sysconfig.get_path(name) for name in ("purelib", "platlib")}:
        found += _tree(Path(folder), NOT_OF_PYTHON)
    found += _tree(Path(os.__file__).parent, NOT_OF_PYTHON)
    return {str(path): path for path in found}


def _chain(path: Path) -> Iterator[Path]:
    """A link, what it points to, and so on to the file."""
    yield path
    while path.is_symlink():
        path = path.parent / path.readlink()
        yield path


def _tree(top: Path, leave_out: Container[str]) -> Iterator[Path]:
    """The files below a folder, but for what has, or is in a folder that has, one of the names."""
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name not in leave_out]
        yield from (Path(folder, name) for name in names if name not in leave_out)


def _libraries(files: Iterable[Path]) -> set[str]:
    """What the programs and extension modules among the files load, and the loader."""
    cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    loaded = dict(re.findall(r"(\S+) \(libc6,x86-64.* => (\S+)", cache.stdout))
    absent = [name for name in LOADED if name not in loaded]
    if absent:
        raise Missing(
            f"no {', '.join(absent)} here; on Debian: apt-get install libseccomp2 libgcc-s1"
        )
    objects = [str(path) for path in files if ".so" in path.suffixes or os.access(path, os.X_OK)]
    objects += (loaded[name] for name in LOADED)
    # Its status is 1 where one of them is no dynamic program.
    said = subprocess.run(["ldd", *objects], capture_output=True, text=True, check=False)
    return {*re.findall(r"\s(/\S+) \(0x", said.stdout), *(loaded[name] for name in LOADED)}
