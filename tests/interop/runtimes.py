# SPDX-License-Identifier: Apache-2.0
"""The OCI runtimes that are compared, and how one is told to do something."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from interop import cgroups, orphans
from needs import needs

TIMEOUT = 30.0  # seconds; for what takes milliseconds

RUNC, PYRUNC, CRUN = "runc", "pyrunc", "crun"
CONTROL = RUNC
PARENT = "-parent"
OTHERS = (PYRUNC, CRUN)
# What another runtime does says whether a test is right, not whether pyrunc is.
BOTH = (pytest.param(RUNC, marks=pytest.mark.sweep), PYRUNC)


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it said."""

    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Runtime:
    """A runtime with a root directory of its own.

    Args:
        name: of it.
        argv: the command and its global options.
        root: where it keeps the state of a container, in a folder of the container's name.
        before: what the command is started by, such as a way to be another user.
    """

    name: str
    argv: tuple[str, ...]
    root: Path
    before: tuple[str, ...] = ()

    def __call__(
        self,
        *words: str | Path,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
        descriptors: str = "",
    ) -> Done:
        """Run one of its commands to the end.

        Its output goes to files: a container that stays would hold the end of a pipe.

        Args:
            words: the sub-command and its arguments.
            stdin: what it reads.
            env: variables added to its environment.
            descriptors: redirections, as a shell has them, of descriptors above 2. LISTEN_PID is
                the process's then, as systemd(1) has it.
        """
        argv = [*self.before, *self.argv, *map(str, words)]
        if descriptors:
            script = f'LISTEN_PID=$$ exec "$@" {descriptors}'
            argv = ["/bin/sh", "-c", script, "sh", *argv]
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context(os.fdopen(os.memfd_create(name), "w+b"))
                for name in ("stdin", "stdout", "stderr")
            ]
            files[0].write(stdin.encode())
            files[0].seek(0)
            status = orphans.run(
                argv,
                stdin=files[0],
                stdout=files[1],
                stderr=files[2],
                env={**os.environ, **(env or {})},
                timeout=TIMEOUT,
            )
            said = [_all_of(file.fileno()) for file in files[1:]]
        return Done(status, *said)

    def must(self, *words: str | Path, **options: Any) -> str:
        """Run a command that has to succeed: what it said."""
        done = self(*words, **options)
        assert done.status == 0, f"{self.name} {words}: exit {done.status}: {done.stderr}"
        return done.stdout

    def state(self, identity: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.must("state", identity))
        return found

    def forget(self, identity: str) -> None:
        """Kill and delete the container, if there is one still; nothing of it is left then."""
        state = self.root / identity
        if state.exists():
            done = self("delete", "--force", identity)
            assert not state.exists(), f"{self.name} did not delete {identity}: {done.stderr}"
        folders = cgroups.of(identity)
        for folder in folders:
            folder.rmdir()
        # What leads to a cgroupsPath is made and left by every runtime.
        left = [folder for folder in folders if not folder.name.endswith(PARENT)]
        assert not left, f"{self.name} left cgroups: {left}"

    @contextlib.contextmanager
    def container(self, bundle: Path, *options: str, command: str = "run") -> Iterator[str]:
        """The id of a container that runs detached, or is created. Deleted at the end."""
        identity = new_id()
        detach = ["--detach"] if command == "run" else []
        try:
            self.must(command, *detach, "--bundle", bundle, *options, identity)
            yield identity
        finally:
            self.forget(identity)

    def started_by(self, *words: str) -> Runtime:
        """The same, started by another command."""
        return replace(self, before=(*self.before, *words))


def _all_of(fd: int) -> str:
    return os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace")


def new_id() -> str:
    """An id that no other container has; the prefix says whose it is, should one be left."""
    return f"nsenter-interop-{secrets.token_hex(4)}"


def path_of(name: str) -> Path:
    """The runtime's executable."""
    if name != PYRUNC:
        return needs(name, package=name)
    path = Path(sys.executable).parent / PYRUNC
    if not path.exists():
        pytest.fail(f"{path} is not there: pip install --editable .", pytrace=False)
    return path


def runtime(name: str, folder: Path) -> Runtime:
    """A runtime that keeps its state in a folder of its own below `folder`."""
    program, root = str(path_of(name)), folder / name
    if name != CRUN or not cgroups.UNIFIED_BESIDE.exists():
        return Runtime(name, (program, "--root", str(root)), root)
    # crun refuses a machine that has cgroup v1 and v2 at once, so it is not shown the v2.
    unshare = str(needs("unshare", package="util-linux"))
    hidden = f'umount {cgroups.UNIFIED_BESIDE.parent} && exec "$@"'
    alone = (unshare, "--mount", "--propagation", "slave", "/bin/sh", "-c", hidden, "sh")
    return Runtime(name, (program, "--cgroup-manager=cgroupfs", "--root", str(root)), root, alone)
