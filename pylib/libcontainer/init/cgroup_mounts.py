# SPDX-License-Identifier: Apache-2.0
"""The container's view of its cgroups, mounts of the types "cgroup" and "cgroup2"."""

from __future__ import annotations

import errno
import posix

from libcontainer.init import paths
from nsenter import system
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount
    from libcontainer.init.mounts import Mounter
    from libcontainer.init.orders import Orders

TYPES = ("cgroup", "cgroup2")
_FLAGS = system.MS_NOEXEC | system.MS_NOSUID | system.MS_NODEV
_UNIFIED = "/sys/fs/cgroup"
_NAMED = "name="


def mount_cgroups(mounter: Mounter, mount: Mount, orders: Orders) -> None:
    """Mount what the host has: "cgroup" is either version of cgroups, "cgroup2" is that alone."""
    own = "NEWCGROUP" in orders.new_namespaces
    if orders.cgroup_mounts and mount.device == "cgroup":
        _mount_v1(mounter, mount, orders, own)
    else:
        _mount_v2(mounter, mount, orders, own)


def _changed(mount: Mount, **changes: object) -> Mount:
    return type(mount)(**{**mount.__dict__, **changes})


def _bind(mounter: Mounter, mount: Mount, source: str, flags: int) -> None:
    flags |= system.MS_BIND
    mounter.mount(_changed(mount, source=source, device="bind", flags=flags, data=""))


# ---- v2


def _mount_v2(mounter: Mounter, mount: Mount, orders: Orders, own: bool) -> None:
    try:
        mounter.new(mount, "cgroup2", mount.source, mount.data)
    except Failure as failure:
        # In a user namespace without a cgroup namespace of its own, or where the host's mount
        # has other options.
        if failure.errno not in (errno.EPERM, errno.EBUSY):
            raise
        _bind_v2(mounter, mount, orders, own)


def _bind_v2(mounter: Mounter, mount: Mount, orders: Orders, own: bool) -> None:
    # What is at the top has to fit to /proc/self/cgroup, in which a namespace hides what is above.
    path = orders.cgroup_paths.get("", "") if own else ""
    try:
        _bind(mounter, mount, path or _UNIFIED, mount.flags)
    except Failure as failure:
        if failure.errno != errno.ENOENT or not orders.config.rootless_cgroups:
            raise
        # Without rights the cgroup was not made: the host's, which may be here, are not to be seen.
        flags = _FLAGS | system.MS_RDONLY
        mounter.new(_changed(mount, flags=flags, device="tmpfs"), "tmpfs", "tmpfs", "")


# ---- v1


def _mount_v1(mounter: Mounter, mount: Mount, orders: Orders, own: bool) -> None:
    """A tmpfs with a directory for each hierarchy."""
    tmpfs = _changed(mount, flags=_FLAGS, device="tmpfs", data="mode=755", propagation_flags=())
    mounter.new(tmpfs, "tmpfs", "tmpfs", tmpfs.data)
    readonly = mount.flags & system.MS_RDONLY
    for name, controllers, path in orders.cgroup_mounts:
        destination = f"{mount.destination}/{name}"
        if own:
            inner = _changed(mount, destination=destination, flags=_FLAGS | readonly)
            _mount_hierarchy(mounter, inner, controllers)
        else:
            inner = _changed(mount, destination=destination)
            _bind(mounter, inner, path, mount.flags | system.MS_REC)
        _link_controllers(mounter.root, mount, name, controllers)
    if readonly:
        _close_tmpfs(mounter, mount)


def _mount_hierarchy(mounter: Mounter, mount: Mount, controllers: tuple[str, ...]) -> None:
    first = controllers[0]
    named = first.startswith(_NAMED)  # "name=systemd" is mounted as systemd
    source = first.removeprefix(_NAMED) if named else "cgroup"
    mounter.new(mount, "cgroup", source, ",".join(controllers))


def _link_controllers(root: int, mount: Mount, name: str, controllers: tuple[str, ...]) -> None:
    """Where several are mounted together, each is found under its own name, too."""
    links = [controller for controller in controllers if controller != name]
    if len(controllers) < 2 or not links:
        return
    folder = paths.open_in(root, mount.destination)
    try:
        for link in links:
            posix.symlink(name, link, dir_fd=folder)
    finally:
        posix.close(folder)


def _close_tmpfs(mounter: Mounter, mount: Mount) -> None:
    """When all is in it, a read-only mount is that."""
    fd = paths.open_in(mounter.root, mount.destination)
    try:
        system.mount_setattr(fd, set=system.MOUNT_ATTR_RDONLY, subject=mount.destination)
    finally:
        posix.close(fd)
