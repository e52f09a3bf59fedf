# SPDX-License-Identifier: Apache-2.0
"""Mounts that the parent creates for its init: detached, and sent as descriptors.

These are bind mounts whose source root in the user namespace cannot reach, and id-mapped mounts
(mount_setattr(2), MOUNT_ATTR_IDMAP).
"""

from __future__ import annotations

import os
from errno import ENOENT, EPERM

from libcontainer.init.rootfs.attributes import failed
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.configs import Config, Mount

__all__ = ["comes_with_the_root", "detached_trees", "map_ids"]


def detached_trees(config: Config, pid: int) -> Iterator[tuple[int, int]]:
    """Yield the index of each such mount of the configuration, and its detached mount.

    Args:
        config: the configuration of the container.
        pid: the pid of the init. A mount without mappings is mapped by its user namespace.
    """
    in_userns = config.namespaces.is_private(NamespaceType.NEWUSER)
    for index, mount in enumerate(config.mounts):
        if not mount.is_bind or not (mount.idmap or in_userns):
            continue
        if comes_with_the_root(config, index):
            continue
        flags = syscalls.OPEN_TREE_CLONE
        if mount.flags & syscalls.MS_REC:
            flags |= syscalls.AT_RECURSIVE
        try:
            tree = syscalls.open_tree(syscalls.AT_FDCWD, mount.source, flags)
        except Failure as failure:
            # The init tries with what rights it has: we may have none either.
            if failure.errno in (EPERM, ENOENT) and not mount.idmap:
                continue
            raise _named(mount, failure) from None
        try:
            if mount.idmap:
                map_ids(tree, mount, pid)
        except BaseException:
            close(tree)
            raise
        yield index, tree


def comes_with_the_root(config: Config, index: int) -> bool:
    """Return whether the source of a mount is in the container's root.

    Another mount may create or cover such a source. So the init clones it after it has made the
    mounts before it.
    """
    root, source = config.rootfs, os.path.realpath(config.mounts[index].source)
    if root == "/" or not source.startswith(f"{root}/"):
        return False
    return any(_is_on(root, mount.destination, source) for mount in config.mounts[:index]) or (
        not os.path.exists(source)
    )


def _is_on(root: str, destination: str, source: str) -> bool:
    """Return whether a path leads through, or to, the mount point of a mount in the root.

    Symbolic links that lead from one to the other are not followed.
    """
    place = os.path.normpath(f"{root}/{destination}")
    return f"{source}/".startswith(f"{place}/")


def _named(mount: Mount, failure: Failure) -> Failure:
    hint = "the source does not exist" if failure.errno == ENOENT else ""
    return failed(mount, failure, hint)


def map_ids(tree: int, mount: Mount, pid: int) -> None:
    """Map the ids of a detached mount.

    Args:
        tree: the descriptor of the mount.
        mount: the mount of the configuration.
        pid: the pid of the init. A mount without mappings is mapped by its user namespace.

    Raises:
        Failure: the kernel refuses it; the error names the source of the mount.
    """
    userns = _user_namespace(mount, pid)
    try:
        syscalls.mount_setattr(
            tree, set=syscalls.MOUNT_ATTR_IDMAP, userns_fd=userns, recursive=mount.idmap_recursive,
            subject=f"the id mapping of {mount.source}",
        )  # fmt: skip
    finally:
        close(userns)


def _user_namespace(mount: Mount, pid: int) -> int:
    if not mount.uid_mappings:
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    from nsenter._launch.idmapped_binds import user_namespace

    return user_namespace(mount.uid_mappings, mount.gid_mappings)
