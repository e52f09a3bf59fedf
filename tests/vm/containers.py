# SPDX-License-Identifier: Apache-2.0
"""Containers in the guest, by pyrunc and by runc: started, looked at, and taken away again."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interop.oci_bundles import Config, Edit, made, shell, write_bundle
from needs import needs
from session import CGROUPS

SECONDS = 60.0
ALIVE = shell("echo started; while :; do sleep 0.2; done")

Done = subprocess.CompletedProcess[str]


def plainly(argv: Sequence[str]) -> Done:
    """Run a command as root; what it says goes to files, which a container may keep open."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=SECONDS, check=False
        )
        out.seek(0)
        err.seek(0)
        return Done(argv, done.returncode, out.read(), err.read())


@dataclass(frozen=True)
class Runtime:
    """A runtime of OCI containers.

    Args:
        name: for people.
        argv: its command, with the folder of its state.
        by: runs a command as whoever uses it.
    """

    name: str
    argv: tuple[str, ...]
    by: Callable[[Sequence[str]], Done] = plainly

    def run(self, *words: str) -> Done:
        return self.by([*self.argv, *words])

    def __call__(self, *words: str) -> str:
        """What it says, where all goes well."""
        done = self.run(*words)
        assert done.returncode == 0, f"{self.name} {' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout

    def replace(self, root: str, by: Callable[[Sequence[str]], Done]) -> Runtime:
        return Runtime(self.name, (*self.argv[:-1], root), by)


def runtime(name: str, root: Path) -> Runtime:
    """`name`, with its state below `root`."""
    program = {
        "pyrunc": (sys.executable, "-m", "libcontainer.pyrunc"),
        "runc": (str(needs("runc", package="runc")),),
    }[name]
    return Runtime(name, (*program, "--root", str(root / name)))


@dataclass(frozen=True)
class Box:
    """A container that runs.

    Args:
        cgroup: its cgroup, from outside.
    """

    runtime: Runtime
    id: str
    cgroup: Path
    bundle: Path
    config: Config = field(repr=False)

    def __call__(self, command: str, *words: str) -> str:
        """What the runtime's command for this container says."""
        return self.runtime(command, *words, self.id)

    def exec(self, script: str) -> str:
        return self.runtime("exec", self.id, *shell(script))

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self("state"))
        return state

    @property
    def pid(self) -> int:
        return int(self.state()["pid"])

    def file(self, name: str) -> str:
        """One of its cgroup's, from outside."""
        return (self.cgroup / name).read_text()

    def files(self, names: Sequence[str]) -> dict[str, str]:
        return {name: self.file(name).strip() for name in names}

    def settings(self) -> dict[str, str]:
        """All files of its cgroup that can be written and that time does not change."""
        paths = sorted(path for path in self.cgroup.iterdir() if path.is_file())
        return {
            path.name: path.read_text()
            for path in paths
            if path.stat().st_mode & 0o400
            and path.stat().st_mode & 0o200
            and not path.name.startswith(_CHANGING)
        }


_CHANGING = ("cgroup.procs", "cgroup.threads", "cpu.pressure", "io.pressure", "memory.pressure")


def resources(limits: Mapping[str, Any]) -> Edit:
    """Sets members of linux.resources; what is not named stays."""

    def edit(config: Config) -> None:
        config["linux"].setdefault("resources", {}).update(limits)

    return edit


def in_cgroup(path: str) -> Edit:
    def edit(config: Config) -> None:
        config["linux"]["cgroupsPath"] = path

    return edit


@contextlib.contextmanager
def running(
    runtime: Runtime,
    folder: Path,
    root: Path,
    *edits: Edit,
    args: Sequence[str] = ALIVE,
    parent: str = "",
    rootless: bool = False,
) -> Iterator[Box]:
    """A container of the example configuration, in a cgroup of its own.

    Args:
        folder: where its bundle is made.
        root: its root file system.
        edits: of its configuration.
        args: what it runs.
        parent: path of the cgroup that its cgroup is made in.
    """
    id = f"box-{secrets.token_hex(4)}"
    path = f"{parent}/{id}"
    config = made(root, list(args), in_cgroup(path), *edits, rootless=rootless)
    bundle = write_bundle(folder / id, config)
    try:
        runtime("run", "--detach", "--bundle", str(bundle), id)
        yield Box(runtime, id, CGROUPS / path.lstrip("/"), bundle, config)
    finally:
        runtime.run("delete", "--force", id)
    assert not (CGROUPS / path.lstrip("/")).exists(), "a cgroup is left"
