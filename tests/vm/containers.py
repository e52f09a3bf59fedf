# SPDX-License-Identifier: Apache-2.0
"""Containers in the guest, by pyrunc and by runc: started, looked at, and taken away again."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import session
from session import CGROUPS, UID, Done

from interop.oci_bundles import Config, Edit, made, shell, write_bundle
from needs import needs

RUNTIMES = ("pyrunc", "runc")
ALIVE = shell("while :; do sleep 0.2; done")


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
    by: Callable[[Sequence[str]], Done] = session.run

    def run(self, *words: str) -> Done:
        return self.by([*self.argv, *words])

    def __call__(self, *words: str) -> str:
        """What it says, where all goes well."""
        done = self.run(*words)
        assert done.returncode == 0, f"{self.name} {' '.join(words)}: {done.stderr}{done.stdout}"
        return done.stdout


def runtime(
    name: str, root: Path, *options: str, by: Callable[[Sequence[str]], Done] = session.run
) -> Runtime:
    """`name`, with its state below `root`, of whoever `by` runs commands as."""
    program = {
        "pyrunc": (sys.executable, "-m", "libcontainer.pyrunc"),
        "runc": (str(needs("runc", package="runc")),),
    }[name]
    return Runtime(name, (*program, "--root", str(root / name), *options), by)


@dataclass(frozen=True)
class Box:
    """A container that runs.

    Args:
        pid: of its first process.
        cgroup: its cgroup, from outside.
    """

    runtime: Runtime
    id: str
    pid: int
    cgroup: Path

    def __call__(self, command: str, *words: str) -> str:
        """What the runtime's command for this container says."""
        return self.runtime(command, *words, self.id)

    def exec(self, script: str) -> str:
        return self.runtime("exec", self.id, *shell(script))

    def status(self) -> str:
        return str(json.loads(self("state"))["status"])

    def file(self, name: str) -> str:
        """One of its cgroup's, from outside."""
        return (self.cgroup / name).read_text().strip()

    def file_inside(self, name: str) -> str:
        """The same file where the container has it."""
        return Path(f"/proc/{self.pid}/root/sys/fs/cgroup", name).read_text().strip()

    def settings(self) -> dict[str, str]:
        """All files of its cgroup that are there to be set, and change by that alone."""
        files = {path.name: path for path in self.cgroup.iterdir() if path.is_file()}
        return {
            name: path.read_text()
            for name, path in sorted(files.items())
            if path.stat().st_mode & 0o600 == 0o600 and name not in _CHANGING
        }


_CHANGING = {f"cgroup.{name}" for name in ("procs", "threads")} | {
    f"{name}.pressure" for name in ("cpu", "io", "memory", "irq")
}
_CHANGING |= {"memory.peak", "memory.swap.peak"}  # which can be reset, since Linux 6.12


def resources(limits: Mapping[str, Any]) -> Edit:
    """Sets members of linux.resources; what is not named stays."""

    def edit(config: Config) -> None:
        config["linux"].setdefault("resources", {}).update(limits)

    return edit


def in_cgroup(path: str) -> Edit:
    def edit(config: Config) -> None:
        config["linux"]["cgroupsPath"] = path

    return edit


def of_user(config: Config) -> None:
    """For a container that the user starts, rootless."""
    for kind in ("uidMappings", "gidMappings"):
        config["linux"][kind][0]["hostID"] = UID


@contextlib.contextmanager
def running(
    runtime: Runtime,
    folder: Path,
    *edits: Edit,
    args: Sequence[str] = ALIVE,
    parent: str = "",
    slice: str = "",
    rootless: bool = False,
) -> Iterator[Box]:
    """A container of the example configuration, in a cgroup of its own.

    Args:
        folder: has its root file system as "root", and gets its bundle.
        edits: of its configuration.
        args: what it runs.
        parent: path of the cgroup that its cgroup is made in.
        slice: of systemd, in which its cgroup is a scope; `parent` is the slice's.
    """
    id = f"box-{secrets.token_hex(4)}"
    path = f"{parent}/{id}"
    where = path
    if slice:
        path, where = f"{parent}/test-{id}.scope", f"{slice}:test:{id}"
    config = made(folder / "root", list(args), in_cgroup(where), *edits, rootless=rootless)
    bundle = write_bundle(folder / id, config)
    if rootless:
        os.chown(bundle, UID, UID)
    pid_file = bundle / "pid"
    cgroup = CGROUPS / path[1:]
    try:
        runtime("run", "--detach", "--pid-file", str(pid_file), "--bundle", str(bundle), id)
        yield Box(runtime, id, int(pid_file.read_text()), cgroup)
    finally:
        runtime.run("delete", "--force", id)
    assert not cgroup.exists(), f"a cgroup is left: {cgroup}"
