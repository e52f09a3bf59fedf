# SPDX-License-Identifier: Apache-2.0
"""Binds in which the process stands in for the owner of their source: id-mapped mounts.

The launcher makes them, detached, with the caller's rights: in the namespaces of the process
nobody has the right to map ids of a file system of the host (mount_setattr(2), MOUNT_ATTR_IDMAP).
They go to the stages as descriptors (csrc/inside/mounts.c). From a detached mount, ".." leads
nowhere.
"""

from __future__ import annotations

import os
import stat
from errno import EINVAL, ENOSYS, EOPNOTSUPP, EPERM

from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter.errors import BootstrapError
from nsenter.idmap import IDMap
from nsenter.mounts import Attached, Bind, Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsenter._launch.descriptors import Descriptors
    from nsenter.mounts import Mount

    Maps = tuple[IDMap, ...]

__all__ = ["user_namespace", "with_idmapped_trees"]

_LAST_ID = 2**32 - 2
# What says that the kernel, the file system or the caller's rights do not go so far.
_REFUSALS = (EINVAL, ENOSYS, EOPNOTSUPP, EPERM)


def with_idmapped_trees(
    mounts: Iterable[Mount], uid: int, gid: int, owner: Descriptors
) -> Iterator[Mount]:
    """The mounts, with a `Tree` for each `Bind` that is `as_owner` and for each `Attached`.

    Args:
        uid, gid: the ids of the process, as its caller has them.
        owner: owns the trees' descriptors; it must stay open until the process has started.

    Raises:
        BootstrapError: ids of a source cannot be mapped, and the process could not write to it.
    """
    for mount in mounts:
        if isinstance(mount, Bind) and mount.as_owner:
            yield _tree_or_bind(mount, uid, gid, owner)
        elif isinstance(mount, Attached):
            yield Tree(mount.target, owner.add(mount.make()), mount.writable)
        else:
            yield mount


def _tree_or_bind(bind: Bind, uid: int, gid: int, owner: Descriptors) -> Mount:
    source = os.fsdecode(bind.source)
    try:
        if os.stat(source).st_uid == uid:
            return bind
        tree = owner.add(syscalls.open_tree(syscalls.AT_FDCWD, source, _COPY))
        found = os.fstat(tree)
        _change(tree, bind, _exchanged(found.st_uid, uid), _exchanged(found.st_gid, gid))
    except OSError as error:
        operation = getattr(error, "operation", "bind")
        number = error.errno or 0
    else:
        return Tree(bind.source if bind.target is None else bind.target, tree, bind.writable)
    if number in _REFUSALS and _is_open_to_all(source):
        return bind
    hint = _hint(source, uid) if number in _REFUSALS else None
    raise BootstrapError("launcher", operation, source, number, hint)


_COPY = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE


def _change(tree: int, bind: Bind, uids: Maps, gids: Maps) -> None:
    """Give the mount its flags, as csrc/inside/mounts.c does for other binds, and the ids.

    What is mounted below it keeps its own ids: another file system may have other owners.
    """
    flags = syscalls.MOUNT_ATTR_NOSUID
    flags |= 0 if bind.devices else syscalls.MOUNT_ATTR_NODEV
    flags |= 0 if bind.writable else syscalls.MOUNT_ATTR_RDONLY
    syscalls.mount_setattr(tree, set=flags, propagation=syscalls.MS_PRIVATE, recursive=True)
    userns = user_namespace(uids, gids)
    try:
        syscalls.mount_setattr(tree, set=syscalls.MOUNT_ATTR_IDMAP, userns_fd=userns)
    finally:
        close(userns)


def _exchanged(one: int, other: int) -> Maps:
    """Return the maps that exchange two ids and leave all others the same."""
    low, high = sorted((one, other))
    rows = (
        (0, 0, low),
        (low, high, 1),
        (low + 1, low + 1, high - low - 1),
        (high, low, 1),
        (high + 1, high + 1, _LAST_ID - high),
    )
    if low == high:
        return (IDMap(0, 0, _LAST_ID + 1),)
    return tuple(IDMap(*row) for row in rows if row[2] > 0)


def user_namespace(uids: Maps, gids: Maps) -> int:
    """Return a descriptor of a new user namespace with these maps.

    A process creates the namespace. It is killed before it executes a program.

    Raises:
        BootstrapError: the namespace cannot be created, or cannot have these maps.
    """
    from nsenter._launch.confinement import Confinement
    from nsenter.bootstrap import BootstrapData
    from nsenter.launch import Program, launch
    from nsenter.namespaces import NamespaceType

    flag = NamespaceType.NEWUSER.clone_flag
    data = BootstrapData(clone_flags=flag, uid_mappings=uids, gid_mappings=gids, setgroup=True)
    with launch(data, Program(["/"]), env={}, confinement=Confinement(wait_for_go=True)) as child:
        return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)


def _is_open_to_all(source: str) -> bool:
    """Return whether any user may write to the source, so that no other ids are needed."""
    try:
        return bool(os.stat(source).st_mode & stat.S_IWOTH)
    except OSError:
        return False


def _hint(source: str, uid: int) -> str:
    return (
        f"the process cannot stand in for the owner of {source!r}: that takes CAP_SYS_ADMIN and a "
        f"file system with id-mapped mounts (mount_setattr(2)); let uid {uid} write there, by "
        f"chown(1) or chmod(1), or bind it without as_owner"
    )
