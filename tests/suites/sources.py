# SPDX-License-Identifier: Apache-2.0
"""The suites' sources, from Debian's archive, with what they need beside them made ready."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
_SUITE = "deb-src [signed-by={key}] http://deb.debian.org/debian bookworm main\n"
_KEY = "/usr/share/keyrings/debian-archive-keyring.gpg"
_HELLO = '#include <stdio.h>\nint main(void) { return puts("Hello World") < 0; }\n'
_USERS = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n"
_GROUPS = "root:x:0:\nnobody:x:65534:\n"


def runc(build: Path) -> Path:
    """The folder of runc's bats; its images and its recvtty are ours."""
    top = _unpacked(build, "runc")
    tests = top / "tests" / "integration"
    images = {
        "BUSYBOX_IMAGE": _image(build / "busybox.tar", _busybox),
        "DEBIAN_IMAGE": _image(build / "debian.tar", _debian),
        "HELLO_IMAGE": _image(build / "hello.tar", _hello),
    }
    lines = "".join(f"echo {name}={path}\n" for name, path in images.items())
    _script(tests / "get-images.sh", f"#!/bin/sh\n{lines}")
    shutil.copy(HERE / "recvtty", top / "contrib/cmd/recvtty/recvtty")
    return tests


def crun(build: Path) -> Path:
    """The folder of crun's tests, with the static program that is the init of each."""
    tests = _unpacked(build, "crun") / "tests"
    (tests / "config.h").touch()
    options = ["-static", "-w", "-I.", "-DHAVE_ERROR_H"]
    subprocess.run(["gcc", *options, "-o", "init", "init.c"], cwd=tests, check=True)
    # Some look for it as from the folder above.
    (tests / "tests").mkdir(exist_ok=True)
    shutil.copy(tests / "init", tests / "tests" / "init")
    return tests


def cpython(build: Path) -> Path:
    """A folder to import CPython's tests from, for a Python that comes without some of them."""
    package = "python{}.{}".format(*sys.version_info)
    library = _unpacked(build, package, folder="Python") / "Lib"
    path = build / f"{package}-tests"
    path.mkdir(exist_ok=True)
    if not (path / "test").exists():
        (path / "test").symlink_to(library / "test")
    return path


def _unpacked(build: Path, package: str, folder: str = "") -> Path:
    """The folder that a source package's archive has, whose name begins with its own by default."""
    pattern = f"{folder or package}-*/"
    if not [*build.glob(pattern)]:
        _download(build, package)
        (archive,) = build.glob(f"{package}_*.orig.tar.*z")
        subprocess.run(["tar", "-xf", archive], cwd=build, check=True)
    (top,) = build.glob(pattern)
    return top


def _download(build: Path, package: str) -> None:
    """By apt, with lists of its own: the machine's stay as they are."""
    (build / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (build / "sources.list").write_text(_SUITE.format(key=_KEY))
    own = {
        "Dir::Etc::sourcelist": build / "sources.list", "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": build / "lists", "Dir::Cache": build / "lists",
        "APT::Sandbox::User": "root",
    }  # fmt: skip
    apt = [
        "apt-get",
        "-qq",
        *(word for item in own.items() for word in ("-o", "{}={}".format(*item))),
    ]
    subprocess.run([*apt, "update"], check=True)
    subprocess.run([*apt, "source", "--download-only", package], cwd=build, check=True)


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _image(path: Path, fill: Callable[[Path], None]) -> Path:
    if path.exists():
        return path
    folder = path.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    fill(folder)
    with tarfile.open(path, "w") as archive:
        archive.add(folder, ".")
    return path


def _busybox(root: Path) -> None:
    for name in "bin dev etc home root tmp usr/bin usr/sbin var lib lib64".split():
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    program = shutil.which("busybox") or "/bin/busybox"
    shutil.copy(program, root / "bin" / "busybox")
    names = subprocess.run([program, "--list"], capture_output=True, text=True, check=True)
    for name in {*names.stdout.split()} - {"busybox"}:
        os.link(root / "bin" / "busybox", root / "bin" / name)
    (root / "etc" / "passwd").write_text(_USERS)
    (root / "etc" / "group").write_text(_GROUPS)


def _debian(root: Path) -> None:
    """What the one test takes that asks for a Debian: its ldconfig, a static program."""
    _busybox(root)
    (root / "sbin").mkdir()
    shutil.copy("/sbin/ldconfig", root / "sbin" / "ldconfig")


def _hello(root: Path) -> None:
    source = root.parent / "hello.c"
    source.write_text(_HELLO)
    subprocess.run(["gcc", "-static", "-o", root / "hello", source], check=True)
