# SPDX-License-Identifier: Apache-2.0
"""The container's view of its cgroups, mounts of the types "cgroup" and "cgroup2"."""

from __future__ import annotations

import errno
import posix

from libcontainer.init import binds, filesystems, paths
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
    """A tmpfs with a directory for each hierarchy, read-only in the end where that is asked."""
    readonly = mount.flags & system.MS_RDONLY
    tmpfs = _changed(mount, device="tmpfs", flags=_FLAGS | readonly, propagation_flags=())
    fd = mounter.new_open(tmpfs, "tmpfs", "tmpfs", "mode=755")
    try:
        for name, controllers, path in orders.cgroup_mounts:
            destination = f"{mount.destination}/{name}"
            inner = _changed(mount, destination=destination, source=path)
            if own:
                inner = _changed(inner, flags=_FLAGS | readonly)
                tree = _hierarchy(inner, controllers)
            else:
                inner = _changed(inner, flags=mount.flags | system.MS_BIND | system.MS_REC)
                tree = _part(inner)
            _attach(mounter, inner, tree, fd, name)
            _link_controllers(fd, name, controllers)
    finally:
        mounter.release(tmpfs, fd)


def _hierarchy(mount: Mount, controllers: tuple[str, ...]) -> int:
    first = controllers[0]
    # "name=systemd" is mounted as systemd.
    source = first.removeprefix(_NAMED) if first.startswith(_NAMED) else "cgroup"
    return filesystems.detached(mount, "cgroup", source, ",".join(controllers))


def _part(mount: Mount) -> int:
    tree = binds.clone(mount)
    try:
        binds.set_flags(mount, tree, as_locked=False)
    except BaseException:
        posix.close(tree)
        raise
    return tree


def _attach(mounter: Mounter, mount: Mount, tree: int, folder: int, name: str) -> None:
    try:
        target = paths.make_below(folder, name, mount.destination, folder=True)
        try:
            mounter.attach(mount, tree, target)
        finally:
            posix.close(target)
    finally:
        posix.close(tree)


def _link_controllers(folder: int, name: str, controllers: tuple[str, ...]) -> None:
    """Where several are mounted together, each is found under its own name, too."""
    if len(controllers) < 2:
        return
    for controller in controllers:
        if controller != name:
            posix.symlink(name, controller, dir_fd=folder)
