# SPDX-License-Identifier: Apache-2.0
"""Decides whether an init joins an existing PID namespace last, after it has entered its root.

libcontainer.init.successor does so, and says why. Otherwise stage 1 joins it, and the processes in
it see the init while it still has the host's root.
"""

from __future__ import annotations

import os

from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Config, Resources

__all__ = ["can_be_shown", "is_exposed", "pid_namespace"]

_FLAGS = os.O_RDONLY | os.O_CLOEXEC
_NS_GET_USERNS = 0xB701  # ioctl_ns(2)
_PROCESSES = 2  # The init and its successor are there at the same time.


def is_exposed(config: Config) -> bool:
    """Return whether others may access the init of a container while it has the host's root.

    Processes of another user namespace may not.
    """
    namespaces = config.namespaces
    path = namespaces.path_of(NamespaceType.NEWPID)
    if not path or namespaces.path_of(NamespaceType.NEWUSER):
        return False
    fd = pid_namespace(config)
    if fd >= 0:
        close(fd)
        return False
    return not namespaces.contains(NamespaceType.NEWUSER) or _has_our_owner(path)


def _has_our_owner(path: str) -> bool:
    """Return whether the caller's user namespace owns a namespace; True if that is not known."""
    fds: list[int] = []
    try:
        fds.append(os.open(path, _FLAGS))
        fds.append(syscalls.ioctl(fds[0], "NS_GET_USERNS", _NS_GET_USERNS))
        return os.path.samestat(os.fstat(fds[1]), os.stat("/proc/self/ns/user"))
    except OSError:
        return True
    finally:
        close(*fds)


def pid_namespace(config: Config) -> int:
    """Return a descriptor of the PID namespace that the init joins last, or -1."""
    namespaces = config.namespaces
    path = namespaces.path_of(NamespaceType.NEWPID)
    # An init in another user namespace has no right to join a namespace of the host.
    if not path or namespaces.contains(NamespaceType.NEWUSER):
        return -1
    # Without a mount namespace, the init still sees the host's files after its setup.
    if not namespaces.contains(NamespaceType.NEWNS) or not _has_room(config.cgroups.resources):
        return -1
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        return -1  # stage 1 fails as well, and reports it
    if any(mount.device == "proc" for mount in config.mounts) and not can_be_shown(fd):
        close(fd)
        return -1
    return fd


def _has_room(resources: Resources) -> bool:
    """Return whether the limits of a cgroup allow both processes."""
    limit, word = resources.pids_limit, resources.unified.get("pids.max", "")
    if word.isdecimal():
        limit = int(word)
    return limit is None or limit < 0 or limit >= _PROCESSES


def can_be_shown(namespace: int) -> bool:
    """Return whether a /proc can show another PID namespace than its mounter's (Linux 6.17)."""
    context = -1
    try:
        context = syscalls.fsopen("proc")
        syscalls.set_pid_namespace(context, namespace)
    except syscalls.Failure:
        return False
    finally:
        if context >= 0:
            close(context)
    return True
