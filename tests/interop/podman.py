# SPDX-License-Identifier: Apache-2.0
"""A podman with storage, state and configuration of its own, that runs containers by a runtime.

Without images and without a network: the root of a container is a folder (`--rootfs`).
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interop import cgroups
from interop.runtimes import Done
from needs import needs

TIMEOUT = 60.0  # seconds; for what takes a fraction of one

_CONTAINERS = """\
[containers]
default_ulimits = []
[network]
network_backend = "cni"
network_config_dir = "{folder}/net"
[engine]
events_logger = "file"
lock_type = "file"
runtime_supports_json = ["pyrunc", "runc"]
runtime_supports_nocgroup = ["pyrunc"]
tmp_dir = "{folder}/tmp"
"""
_STORAGE = """\
[storage]
driver = "vfs"
runroot = "{folder}/runroot"
graphroot = "{folder}/root"
"""


@dataclass(frozen=True)
class Podman:
    """A podman.

    Args:
        folder: its own, for everything.
        root: of containers.
        runtime: the path of the OCI runtime.
        before: what podman is started by, such as a way to be another user.
        rootless: whether that is one.
        cgroup_manager: who makes its cgroups, "cgroupfs" or "systemd".
    """

    folder: Path
    root: Path
    runtime: Path
    before: tuple[str, ...] = ()
    rootless: bool = False
    cgroup_manager: str = "cgroupfs"

    @property
    def cgroup_parent(self) -> str:
        """The name of the cgroup that all its containers are in."""
        return f"nsenter-interop-{self.folder.name}"

    def prepare(self) -> None:
        """Write its configuration."""
        for name, text in {"containers.conf": _CONTAINERS, "storage.conf": _STORAGE}.items():
            (self.folder / name).write_text(text.format(folder=self.folder))

    def __call__(self, *words: str | Path, descriptors: str = "") -> Done:
        """Run one of its commands to the end.

        `descriptors`: redirections, as a shell has them, of descriptors above 2.
        """
        options = [
            *("--runtime", self.runtime, "--log-level", "error"),
            *("--cgroup-manager", self.cgroup_manager),
            *("--root", self.folder / "root", "--runroot", self.folder / "runroot"),
            *("--tmpdir", self.folder / "tmp", "--storage-driver", "vfs"),
        ]
        podman = needs("podman", package="podman")
        opened = ("/bin/sh", "-c", f'exec "$@" {descriptors}', "sh") if descriptors else ()
        argv = [*opened, *self.before, podman, *options, *words]
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env=os.environ | self._environment(),
            cwd=self.folder,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def _environment(self) -> dict[str, str]:
        return {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
            "XDG_RUNTIME_DIR": str(self.folder / "run"),
            "HOME": str(self.folder),
        }

    def must(self, *words: str | Path) -> str:
        """Run a command that has to succeed: what it said."""
        done = self(*words)
        assert done.status == 0, f"podman {words}: exit {done.status}: {done.stderr}"
        return done.stdout

    def container_options(self, options: tuple[str, ...]) -> list[str]:
        """Those of `run` and `create`: no network where the options say nothing of one."""
        network = () if "--network" in options else ("--network", "none")
        has_parent = self.cgroup_manager == "cgroupfs" and not self.rootless
        parent = ("--cgroup-parent", f"/{self.cgroup_parent}") if has_parent else ()
        return [*network, *parent, *options]

    def run(self, *command: str, options: tuple[str, ...] = (), descriptors: str = "") -> Done:
        """Run a command in a container to its end."""
        words = self.container_options(("--rm", *options))
        return self("run", *words, "--rootfs", self.root, *command, descriptors=descriptors)

    def said(self, *command: str, options: tuple[str, ...] = (), descriptors: str = "") -> str:
        """What a command in a container said, when it ended well."""
        done = self.run(*command, options=options, descriptors=descriptors)
        assert done.status == 0, f"{command}: exit {done.status}: {done.stderr}"
        return done.stdout

    def start(self, *command: str, options: tuple[str, ...] = ()) -> str:
        """The name of a container that runs a command detached."""
        name = f"c-{secrets.token_hex(4)}"
        words = self.container_options(("--detach", "--name", name, *options))
        self.must("run", *words, "--rootfs", self.root, *command)
        return name

    def inspect(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.must("inspect", name))[0]
        return found

    def clear(self) -> None:
        """Remove all containers, what serves them and their cgroup."""
        self("rm", "--all", "--force", "--time", "0")
        pause = self.folder / "tmp" / "pause.pid"  # what keeps a user's namespaces between commands
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
        cgroups.remove(self.cgroup_parent)
