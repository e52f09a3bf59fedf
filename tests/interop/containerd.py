# SPDX-License-Identifier: Apache-2.0
"""A private containerd, and its `ctr`: nothing of it is outside a folder but cgroups, and sockets
of shims, which containerd 1 has in /run/containerd/s always, and which go with the shims.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from interop import cgroups, oci_image
from interop.own_mounts import own_mounts
from interop.runtimes import Done
from needs import needs

TIMEOUT = 60.0  # seconds; for what takes a fraction of one

_CONFIG = """\
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = [{disabled}]
[grpc]
address = "{folder}/socket"
[ttrpc]
address = "{folder}/socket.ttrpc"
"""
_DISABLED = (
    "grpc.v1.cri snapshotter.v1.aufs snapshotter.v1.btrfs snapshotter.v1.devmapper "
    "snapshotter.v1.zfs snapshotter.v1.overlayfs internal.v1.opt internal.v1.tracing "
    "tracing.processor.v1.otlp"
).split()


@dataclass(frozen=True)
class Containerd:
    """One at work.

    Args:
        folder: its own.
        inside: the words that a command is started by, to see its mounts.
        runtime: the path of the OCI runtime that `run` names, and that is `runc` in its PATH.
    """

    folder: Path
    runtime: Path
    inside: tuple[str, ...]

    @property
    def namespace(self) -> str:
        """containerd's, and the name of the cgroup that its containers are in."""
        return _namespace(self.folder)

    def ctr(self, *words: str | Path) -> Done:
        """Run a command of ctr's to the end."""
        options = ["--address", self.folder / "socket", "--namespace", self.namespace]
        argv = [*self.inside, needs("ctr", package="containerd"), *options, *words]
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def must(self, *words: str | Path) -> str:
        """Run a command that has to succeed: what it said."""
        done = self.ctr(*words)
        assert done.status == 0, f"ctr {words}: exit {done.status}: {done.stderr}"
        return done.stdout

    def run(self, name: str, *command: str, options: tuple[str, ...] = ()) -> Done:
        """`ctr run`."""
        where = ("--runc-binary", self.runtime, "--runc-root", self.folder / "runc")
        local = ("--snapshotter", "native", "--fifo-dir", self.folder / "fifos")
        return self.ctr("run", *local, *where, *options, oci_image.NAME, name, *command)

    @contextlib.contextmanager
    def container(self, name: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[None]:
        """A container at work, removed at the end."""
        try:
            done = self.run(name, *command, options=("--detach", *options))
            assert done.status == 0, done.stderr
            yield
        finally:
            self.remove(name)

    def remove(self, name: str) -> None:
        """Kill the task and remove it and the container, whichever of them there are."""
        self.ctr("task", "delete", "--force", name)
        self.ctr("container", "delete", name)

    def tasks(self) -> dict[str, tuple[int, str]]:
        """Name → pid and status of the tasks."""
        rows = [line.split() for line in self.must("task", "list").splitlines()[1:]]
        return {name: (int(pid), status) for name, pid, status in rows}


def _namespace(folder: Path) -> str:
    return folder.name.replace("_", "0")  # which containerd does not take everywhere in a name


@contextlib.contextmanager
def containerd(folder: Path, runtime: Path) -> Iterator[Containerd]:
    """A containerd that has the image NAME, until the end."""
    needs("containerd-shim-runc-v2", package="containerd")
    disabled = ", ".join(f'"io.containerd.{name}"' for name in _DISABLED)
    config = folder / "config.toml"
    config.write_text(_CONFIG.format(folder=folder, disabled=disabled))
    program = needs("containerd", package="containerd")
    programs = folder / "bin"
    programs.mkdir()
    (programs / "runc").symlink_to(runtime)
    with contextlib.ExitStack() as stack:
        stack.callback(_clear, _namespace(folder))
        inside = stack.enter_context(own_mounts())
        log = stack.enter_context((folder / "log").open("wb"))
        daemon = subprocess.Popen(
            [*inside, program, "--config", config],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        )
        made = Containerd(folder, runtime, inside)
        stack.enter_context(daemon)
        stack.callback(daemon.terminate)
        _wait_until_it_answers(made, daemon)
        yield made


def _clear(namespace: str) -> None:
    """What a containerd leaves outside its folder."""
    cgroups.remove(namespace)
    shutil.rmtree(f"/run/containerd/runc/{namespace}", ignore_errors=True)


def _wait_until_it_answers(made: Containerd, daemon: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while made.ctr("version").status != 0:
        log = made.folder / "log"
        assert daemon.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.05)
