# SPDX-License-Identifier: Apache-2.0
"""Processes that a runtime, a conmon or a shim leaves to whoever is there: here, to the tests.

With the test process as their subreaper they are its children, so that nobody's zombie stays on a
machine whose PID 1 does not reap, and one that is left alive is found by the test that left it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import Any

from nsenter._host import syscalls
from processes import children_of, name_of, runs, words_of

_SET_CHILD_SUBREAPER = 36  # prctl(2)
_SECONDS = 20.0  # for what is ending by itself: a conmon, a shim


@contextlib.contextmanager
def adopted() -> Iterator[None]:
    """Orphans are this process's within; at the end all have ended, or this fails by their names.

    Those that have not are killed.
    """
    syscalls.prctl("PR_SET_CHILD_SUBREAPER", _SET_CHILD_SUBREAPER, 1)
    try:
        with settled():
            yield
    finally:
        syscalls.prctl("PR_SET_CHILD_SUBREAPER", _SET_CHILD_SUBREAPER, 0)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """What starts within has ended after, however late, and is reaped. See `adopted`."""
    before = children_of()
    try:
        yield
    finally:
        left = _wait_for_the_end(before)
        _kill(left)
    assert not left, f"processes left behind: {sorted(left.values())}"


def run(argv: Sequence[str], *, timeout: float, **options: Any) -> int:
    """Run a command to its end, and reap orphans meanwhile, as PID 1 would: its exit status.

    A pid namespace is not gone before whoever adopted one of its processes has reaped it.
    """
    deadline = time.monotonic() + timeout
    with subprocess.Popen(argv, **options) as child:
        ended = os.pidfd_open(child.pid)
        try:
            while not select.select([ended], [], [], 0.05)[0]:
                reap(child.pid)
                if time.monotonic() > deadline:
                    child.kill()
                    raise subprocess.TimeoutExpired(argv, timeout)
        finally:
            os.close(ended)
    return child.returncode


def reap(besides: int = 0) -> list[str]:
    """Reap orphans that have ended: their names, from the kernel's 15 characters.

    Call it where no child of the tests' own ends at the same time, but `besides`.
    """
    return [name for pid, name in _zombies() if pid != besides and _reap(pid, os.WNOHANG)]


def _zombies() -> list[tuple[int, str]]:
    return [(pid, name_of(pid)) for pid in children_of() if not runs(pid)]


def _wait_for_the_end(kept: set[int]) -> dict[int, str]:
    """Reaps; pid → command line of the children that live on."""
    deadline = time.monotonic() + _SECONDS
    while True:
        left = {pid: _name(pid) for pid in children_of() - kept if not _reap(pid, os.WNOHANG)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.01)


def _kill(left: dict[int, str]) -> None:
    """Their children become ours, so it goes on until there are none."""
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        _reap(pid, 0)


def _reap(pid: int, options: int) -> bool:
    try:
        return os.waitpid(pid, options)[0] == pid
    except ChildProcessError:
        return True


def _name(pid: int) -> str:
    return " ".join(words_of(pid)) or f"pid {pid}"
