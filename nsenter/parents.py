# SPDX-License-Identifier: Apache-2.0
"""Who waits for a process that has ended: only its parent can, which may be another than this one.

A process that was forked from a template (nsenter/preload.py) is the template's child.
"""

from __future__ import annotations

import os

from nsenter.usage import wait_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from nsenter.usage import Usage

    class Ended(Protocol):
        """What is used of an os.waitid_result."""

        @property
        def si_code(self) -> int: ...
        @property
        def si_status(self) -> int: ...


__all__ = ["THIS_PROCESS", "Parent"]


class Parent:
    """This process, as a parent."""

    def waitid(self, which: int, number: int, options: int) -> Ended | None:
        """As os.waitid.

        Raises:
            ChildProcessError: there is no such child, or somebody else has waited for it.
            OSError: the call failed.
        """
        return os.waitid(which, number, options)

    def wait_for(self, pidfd: int, has_own_peak: bool) -> tuple[int, int, Usage]:
        """As `nsenter.usage.wait_for`."""
        return wait_for(pidfd, has_own_peak=has_own_peak)

    def has_ended(self) -> bool:
        """Whether it is dead, and its children with it."""
        return False


THIS_PROCESS = Parent()
