# SPDX-License-Identifier: Apache-2.0
"""OCI bundles: busybox with all its applets as root, `runc spec` as the configuration, and tweaks.

The root is made once a run and only read; a bundle is a folder with a config.json that names it.
All is where any user can search, because runtimes enter a root as whoever owns it inside.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from needs import needs

Config = dict[str, Any]
Edit = Callable[[Config], object]

SHELL = "/bin/sh"
_FOLDERS = "dev etc proc root run sys tmp mnt var/tmp".split()
_LINKS = {"mnt/link": "../tmp", "mnt/out": "../../../../etc"}
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nsomebody:x:1000:1000::/tmp:/bin/sh\n",
    "etc/group": "root:x:0:\nsomebody:x:1000:\nothers:x:1001:somebody\n",
    "etc/hostname": "of-the-image\n",
    "etc/not-executable": "#!/bin/sh\n",
}


def make_root(folder: Path, applets: Iterable[str] | None = None) -> Path:
    """A root file system in `folder`, with these applets of busybox, or all."""
    busybox = needs("busybox", package="busybox-static")
    (folder / "bin").mkdir(parents=True)
    shutil.copy2(busybox, folder / "bin" / "busybox")
    for applet in _applets(busybox) if applets is None else applets:
        (folder / "bin" / applet).symlink_to("busybox")
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "tmp").chmod(0o1777)
    for name, target in _LINKS.items():
        (folder / name).symlink_to(target)
    for name, text in _FILES.items():
        (folder / name).write_text(text)
    return folder


@functools.cache
def _applets(busybox: Path) -> tuple[str, ...]:
    said = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout
    return tuple(applet for applet in said.split() if applet != "busybox")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that every user can search, which pytest's are not. Removed at the end."""
    with tempfile.TemporaryDirectory(prefix="nsenter-interop-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@functools.cache
def _spec(*options: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        runc = needs("runc", package="runc")
        subprocess.run([runc, "spec", "--bundle", folder, *options], check=True)
        return (Path(folder) / "config.json").read_text()


def example(*, rootless: bool = False) -> Config:
    """The configuration that `runc spec` writes, without ambient capabilities: it has them without
    inheritable ones up to 1.1, which has no effect but a warning of newer runtimes."""
    config: Config = json.loads(_spec(*(["--rootless"] if rootless else [])))
    config["process"]["terminal"] = False
    config["process"]["capabilities"].pop("ambient", None)
    return config


def shell(script: str) -> list[str]:
    """process.args that run a script."""
    return [SHELL, "-c", script]


def write_bundle(folder: Path, config: Config) -> Path:
    """A bundle in `folder`, which may be there already."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def made(root: Path, args: list[str], *edits: Edit, rootless: bool = False) -> Config:
    """The example with a root and the process's arguments, and edited; the last edit wins."""
    config = copy.deepcopy(example(rootless=rootless))
    config["root"]["path"] = str(root)
    config["process"]["args"] = args
    for edit in edits:
        edit(config)
    return config
