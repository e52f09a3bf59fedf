# SPDX-License-Identifier: Apache-2.0
"""Into the cgroups of v1, by files that a process writes itself into.

Who moves itself, and has one thread, waits for nobody; to be moved takes a grace period of the
kernel's, 8 ms and more.
"""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def enter_cgroups(tasks_fds: Iterable[int]) -> None:
    """Enter the cgroups whose `tasks` files these are, and close the descriptors."""
    for fd in tasks_fds:
        posix.write(fd, b"0")
        posix.close(fd)
