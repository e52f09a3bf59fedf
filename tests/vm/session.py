# SPDX-License-Identifier: Apache-2.0
"""The guest as its init made it: cgroups, and a user to whom one is delegated."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from launching import PYTHONPATH

CGROUPS = Path("/sys/fs/cgroup")
DELEGATED = CGROUPS / "user"  # the user's own
UID = 1000
SECONDS = 60.0

Done = subprocess.CompletedProcess[str]

AS_THE_USER = (
    *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--init-groups"),
    *("env", "HOME=/home/user", "USER=user", f"PYTHONPATH={PYTHONPATH}"),
    f"XDG_RUNTIME_DIR=/run/user/{UID}",
)
_IN_THE_SESSION = ("sh", "-c", f'echo $$ >{DELEGATED}/session/cgroup.procs && exec "$@"', "sh")


def as_the_user(argv: Sequence[str]) -> Done:
    """Run a command as the user, in the cgroup of its session, and let it end as it does."""
    return run([*_IN_THE_SESSION, *AS_THE_USER, *argv])


def run(argv: Sequence[str]) -> Done:
    """Run a command; what it says goes to files, which a process that it leaves may keep open."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=SECONDS, check=False
        )
        out.seek(0)
        err.seek(0)
        return Done(argv, done.returncode, out.read(), err.read())


@contextlib.contextmanager
def cgroup(name: str, **limits: str) -> Iterator[Path]:
    """A cgroup under the root, that is empty again at the end.

    Args:
        limits: what to write to its files; "memory_swap_max" is memory.swap.max.
    """
    path = CGROUPS / name
    path.mkdir()
    try:
        for file, value in limits.items():
            (path / file.replace("_", ".")).write_text(value)
        yield path
    finally:
        path.rmdir()


@contextlib.contextmanager
def opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)
