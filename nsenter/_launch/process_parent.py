# SPDX-License-Identifier: Apache-2.0
"""Waiting for a process: only its parent can do that, which may not be this process.

A process that was forked from a template (nsenter/_remote/preload.py) is the template's child.
"""

from __future__ import annotations

import os
from _signal import SIGKILL

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import send_signal
from nsenter._launch.usage import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from nsenter._launch.usage import Usage

    class Ended(Protocol):
        """The fields of os.waitid_result that are used."""

        @property
        def si_code(self) -> int: ...
        @property
        def si_status(self) -> int: ...


__all__ = ["THIS_PROCESS", "Parent", "end_unstarted"]


class Parent:
    """This process as the parent."""

    def waitid(self, which: int, number: int, options: int) -> Ended | None:
        """Wait as os.waitid does.

        Raises:
            ChildProcessError: there is no such child, or other code has waited for it.
            OSError: the call failed.
        """
        return os.waitid(which, number, options)

    def wait_for(self, pidfd: int, has_own_peak: bool) -> tuple[int, int, Usage]:
        """Wait as `nsenter._launch.usage.wait_for` does."""
        return wait_for(pidfd, has_own_peak=has_own_peak)

    def has_ended(self) -> bool:
        """Return whether the parent has ended, and its children with it."""
        return False


THIS_PROCESS = Parent()


def end_unstarted(pid: int, pidfd: int, parent: Parent) -> None:
    """Kill a process that was not started, wait for it, and close its pidfd."""
    try:
        with suppress(ProcessLookupError, ChildProcessError):
            send_signal(pidfd, pid, SIGKILL, parent.waitid)
            parent.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    finally:
        close(pidfd)
