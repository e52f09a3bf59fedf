# SPDX-License-Identifier: Apache-2.0
"""The container's view of its cgroups, mounts of the types "cgroup" and "cgroup2"."""

from __future__ import annotations

import errno
import posix

from libcontainer.init import paths
from libcontainer.init.mounts import Mounter, attributes_of, describe, thawed
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount

_FLAGS = system.MS_NOEXEC | system.MS_NOSUID | system.MS_NODEV


def mount_cgroups(
    mounter: Mounter,
    mount: Mount,
    hierarchies: tuple[tuple[str, tuple[str, ...], str], ...],
    unified: str,
    *,
    own_namespace: bool,
) -> None:
    """Mount what the host has.

    Args:
        hierarchies: of cgroup v1: the name of the mount point, its controllers, and the
            directory of the container's cgroup.
        unified: of cgroup v2: the directory of the container's cgroup; "": it has v1.
        own_namespace: whether the container has a cgroup namespace.
    """
    if unified:
        _mount_v2(mounter, mount, unified)
        return
    _mount_v1(mounter, mount, hierarchies, own_namespace)


def _mount_v2(mounter: Mounter, mount: Mount, unified: str) -> None:
    try:
        mounter.new(mount, "cgroup2", "cgroup", mount.data)
    except Failure as failure:
        # In a user namespace without a cgroup namespace of its own, or where the host's mount
        # has other options.
        if failure.errno not in (errno.EPERM, errno.EBUSY):
            raise
        _bind(mounter, mount, unified)


def _bind(mounter: Mounter, mount: Mount, source: str) -> None:
    flags = mount.flags | system.MS_BIND | system.MS_REC
    mounter.mount(thawed(mount, source=source, device="bind", flags=flags))


def _mount_v1(
    mounter: Mounter,
    mount: Mount,
    hierarchies: tuple[tuple[str, tuple[str, ...], str], ...],
    own_namespace: bool,
) -> None:
    mounter.new(thawed(mount, flags=_FLAGS, device="tmpfs"), "tmpfs", "tmpfs", "mode=755")
    readonly = mount.flags & system.MS_RDONLY
    for name, controllers, path in hierarchies:
        inner = thawed(mount, destination=f"{mount.destination}/{name}", flags=_FLAGS | readonly)
        if own_namespace:
            mounter.new(inner, "cgroup", "cgroup", ",".join(controllers))
        else:
            _bind(mounter, inner, path)
        _link_controllers(mounter.root, mount, name, controllers)
    if readonly:
        fd = paths.open_in(mounter.root, mount.destination)
        system.mount_setattr(fd, set=attributes_of(readonly)[0], subject=describe(mount))
        posix.close(fd)


def _link_controllers(root: int, mount: Mount, name: str, controllers: tuple[str, ...]) -> None:
    """Where several are mounted together, each is found under its own name, too."""
    if len(controllers) < 2:
        return
    folder = paths.open_in(root, mount.destination)
    try:
        for controller in controllers:
            posix.symlink(name, controller, dir_fd=folder)
    finally:
        posix.close(folder)
