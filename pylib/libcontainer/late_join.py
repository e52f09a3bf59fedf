# SPDX-License-Identifier: Apache-2.0
"""Whether an init joins an existing PID namespace last, when it has entered its root.

libcontainer.init.successor does so, and says why. Else stage 1 joins it, and the processes in it
see the init while that still has the host's root.
"""

from __future__ import annotations

import os

from nsenter import system
from nsenter.namespaces import NamespaceType
from nsenter.undo import close

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Config

__all__ = ["is_exposed", "pid_namespace"]

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_TWO = 2  # The init and its successor are there at the same time.


def is_exposed(config: Config) -> bool:
    """Whether others see the init of a container while it has the host's root.

    Those of another user namespace may not look into it.
    """
    namespaces = config.namespaces
    if not namespaces.path_of(NamespaceType.NEWPID) or namespaces.contains(NamespaceType.NEWUSER):
        return False
    fd = pid_namespace(config)
    if fd >= 0:
        close(fd)
    return fd < 0


def pid_namespace(config: Config) -> int:
    """A descriptor of the PID namespace that the init of a container joins last; -1: of none."""
    namespaces = config.namespaces
    path = namespaces.path_of(NamespaceType.NEWPID)
    # In a user namespace of its own, it has no right to join one of the host's any more.
    if not path or namespaces.contains(NamespaceType.NEWUSER):
        return -1
    limit = config.cgroups.resources.pids_limit
    # Without mounts of its own, it keeps the host's in sight.
    if not namespaces.contains(NamespaceType.NEWNS) or (limit is not None and 0 <= limit < _TWO):
        return -1
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return -1  # stage 1 fails as well, and tells of it
    if any(mount.device == "proc" for mount in config.mounts) and not _can_be_shown(fd):
        close(fd)
        return -1
    return fd


def _can_be_shown(fd: int) -> bool:
    """Whether a /proc that is mounted outside can show it (from Linux 6.17 on)."""
    context = -1
    try:
        context = system.fsopen("proc")
        system.set_pid_namespace(context, fd)
    except system.Failure:
        return False
    finally:
        if context >= 0:
            close(context)
    return True
