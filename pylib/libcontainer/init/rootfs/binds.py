# SPDX-License-Identifier: Apache-2.0
"""Bind mounts: a clone of what the host has (open_tree(2)), with flags of its own."""

from __future__ import annotations

import errno

from libcontainer.init.rootfs.attributes import (
    ANY_ATIME,
    LOCKABLE,
    TIMES,
    attributes_at,
    changes_of,
    failed,
    unwanted,
    whole_times,
)
from nsenter._host import syscalls
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount

_HINTS = {
    errno.ENOENT: "the source does not exist",
    errno.EINVAL: "in a user namespace what is mounted below the source comes along: use rbind",
}
_LOCKED = "flags of the source are locked by its user namespace: ask for the same ones"


def clone(mount: Mount) -> int:
    """Return a detached clone of the mount's source, with the mounts below it if asked for."""
    recursive = syscalls.AT_RECURSIVE if mount.flags & syscalls.MS_REC else 0
    try:
        flags = syscalls.OPEN_TREE_CLONE | recursive
        return syscalls.open_tree(syscalls.AT_FDCWD, mount.source, flags)
    except Failure as failure:
        raise failed(mount, failure, _HINTS.get(failure.errno or 0, "")) from None


def set_flags(mount: Mount, tree: int, *, as_locked: bool) -> None:
    """Give a detached tree its flags, so that it is never seen without them.

    Args:
        as_locked: leave those that it has, as one has to that comes from another user namespace.
    """
    to_set, to_clear = changes_of(mount.flags, mount.cleared_flags)
    if as_locked:
        to_clear = _unlocked(mount, tree, to_set, to_clear)
    if not to_set and not to_clear:
        return
    try:
        syscalls.mount_setattr(tree, set=to_set, clear=to_clear)
    except Failure as failure:
        if failure.errno != errno.EPERM:
            raise failed(mount, failure) from None
        _set_beside_locked(mount, tree, to_set, to_clear & syscalls.MOUNT_ATTR__ATIME)


def _unlocked(mount: Mount, tree: int, to_set: int, to_clear: int) -> int:
    """Return the flags of `to_clear` that are not locked (mount_namespaces(7)).

    Raises:
        Failure: a locked flag was to be cleared by name, or the mount requires other access times.
    """
    has = attributes_at(tree)
    if not mount.flags & ANY_ATIME:
        to_clear &= ~TIMES
    times = to_set & TIMES | has & TIMES & ~to_clear
    if unwanted(mount.cleared_flags) & has & LOCKABLE or times != has & TIMES:
        locked = Failure("mount_setattr", "", errno.EPERM)
        raise failed(mount, locked, _LOCKED) from None
    return to_clear & ~(has & LOCKABLE)


def _set_beside_locked(mount: Mount, tree: int, to_set: int, times: int) -> None:
    """Set flags of a mount that comes from another user namespace, and keep its locked ones.

    Locked flags (mount_namespaces(7)) cannot be cleared. They are ignored unless they were named.
    """
    clear = unwanted(mount.cleared_flags) & ~to_set | times
    try:
        syscalls.mount_setattr(tree, set=to_set, clear=clear)
    except Failure as failure:
        raise failed(mount, failure, _LOCKED) from None


def set_recursive_flags(mount: Mount, tree: int) -> None:
    """Set the flags of "rro" and similar options on the whole tree."""
    if not mount.rec_attr_set and not mount.rec_attr_clr:
        return
    try:
        syscalls.mount_setattr(
            tree, set=mount.rec_attr_set, clear=whole_times(mount.rec_attr_clr), recursive=True
        )
    except Failure as failure:
        raise failed(mount, failure) from None
