# SPDX-License-Identifier: Apache-2.0
"""The container's view of its cgroups, mounts of the types "cgroup" and "cgroup2"."""

from __future__ import annotations

import errno
import posix

from libcontainer.init.rootfs import binds, filesystems, paths
from libcontainer.init.rootfs.attributes import ALL, TIMES, attributes_of
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount
    from libcontainer.init.config import InitConfig
    from libcontainer.init.rootfs.mounts import Mounter

TYPES = ("cgroup", "cgroup2")
_FLAGS = syscalls.MS_NOEXEC | syscalls.MS_NOSUID | syscalls.MS_NODEV
_UNIFIED = "/sys/fs/cgroup"
_HOSTS_V2 = (_UNIFIED, f"{_UNIFIED}/unified")
_NAMED = "name="
_OWN_NAMESPACE = "/proc/self/ns/cgroup"
_INITIAL_NAMESPACE = 0xEFFF_FFFB  # its inode (linux/nsfs.h)
_TOP = 1  # the inode of a hierarchy's root directory


def mount_cgroups(mounter: Mounter, mount: Mount, init_config: InitConfig) -> None:
    """Mount what the host has: "cgroup" is either version of cgroups, "cgroup2" is that alone."""
    own = "NEWCGROUP" in init_config.new_namespaces
    if init_config.cgroup_mounts and mount.device == "cgroup":
        _mount_v1(mounter, mount, init_config, own)
    else:
        _mount_v2(mounter, mount, init_config, own)


def _changed(mount: Mount, **changes: object) -> Mount:
    return type(mount)(**{**mount.__dict__, **changes})


def _bind(mounter: Mounter, mount: Mount, source: str, flags: int) -> None:
    flags |= syscalls.MS_BIND
    mounter.mount(_changed(mount, source=source, device="bind", flags=flags, data=""))


# ---- v2


def _mount_v2(mounter: Mounter, mount: Mount, init_config: InitConfig, own: bool) -> None:
    """Bind the mount that the host has, if that shows what a new one would; else mount a new one.

    In the initial cgroup namespace a new mount waits for an RCU grace period, 11 to 16 ms, and
    without options it takes from the host those that it has set, such as nsdelegate.
    """
    tree = -1 if own or init_config.in_userns else _clone_v2(mount)
    if tree < 0:
        _mount_new_v2(mounter, mount, init_config, own)
        return
    try:
        mounter.mount(mount, tree)
    finally:
        close(tree)


def _clone_v2(mount: Mount) -> int:
    """Return a detached clone of the host's cgroup2 with a new mount's flags; -1 if impossible.

    A clone is impossible if there is nothing to clone, or if a new mount would show something else.
    A new mount shows the root of this process's cgroup namespace. In the initial namespace that is
    the top of the hierarchy. Only there a new mount waits for a long time, so only there a clone is
    made.
    """
    if mount.data or not filesystems.has_mount_flags_alone(mount):
        return -1
    try:
        if posix.stat(_OWN_NAMESPACE).st_ino != _INITIAL_NAMESPACE:
            return -1
    except OSError:  # /proc is not mounted, or is of another PID namespace
        return -1
    for path in _HOSTS_V2:
        tree = _cloned(path)
        if tree >= 0:
            return _as_new(mount, tree)
    return -1


def _cloned(path: str) -> int:
    """Return a detached clone of a mount if it is the whole hierarchy of cgroup v2."""
    try:
        tree = syscalls.open_tree(syscalls.AT_FDCWD, path, syscalls.OPEN_TREE_CLONE)
    except Failure:
        return -1
    is_v2 = syscalls.file_system_type(tree) == syscalls.CGROUP2_SUPER_MAGIC
    if is_v2 and posix.fstat(tree).st_ino == _TOP:
        return tree
    posix.close(tree)
    return -1


def _as_new(mount: Mount, tree: int) -> int:
    """Give a clone the flags and the propagation of a new mount; -1 if it cannot have them."""
    to_set = attributes_of(mount.flags)
    try:
        syscalls.mount_setattr(
            tree, set=to_set, clear=ALL & ~to_set | TIMES, propagation=syscalls.MS_PRIVATE
        )
    except Failure:
        close(tree)
        return -1
    return tree


def _mount_new_v2(mounter: Mounter, mount: Mount, init_config: InitConfig, own: bool) -> None:
    try:
        mounter.new(mount, "cgroup2", mount.source, mount.data)
    except Failure as failure:
        # In a user namespace without a cgroup namespace of its own, or where the host's mount
        # has other options.
        if failure.errno not in (errno.EPERM, errno.EBUSY):
            raise
        _bind_v2(mounter, mount, init_config, own)


def _bind_v2(mounter: Mounter, mount: Mount, init_config: InitConfig, own: bool) -> None:
    # What is at the top has to fit to /proc/self/cgroup, in which a namespace hides what is above.
    path = init_config.cgroup_paths.get("", "") if own else ""
    try:
        _bind(mounter, mount, path or _UNIFIED, mount.flags)
    except Failure as failure:
        if failure.errno != errno.ENOENT or not init_config.config.rootless_cgroups:
            raise
        # Without rights the cgroup was not made: the host's, which may be here, are not to be seen.
        flags = _FLAGS | syscalls.MS_RDONLY
        mounter.new(_changed(mount, flags=flags, device="tmpfs"), "tmpfs", "tmpfs", "")


# ---- v1


def _mount_v1(mounter: Mounter, mount: Mount, init_config: InitConfig, own: bool) -> None:
    """Mount a tmpfs with a directory for each hierarchy.

    It becomes read-only at the end if that is asked for.
    """
    readonly = mount.flags & syscalls.MS_RDONLY
    tmpfs = _changed(mount, device="tmpfs", flags=_FLAGS | readonly, propagation_flags=())
    fd = mounter.new_open(tmpfs, "tmpfs", "tmpfs", "mode=755")
    try:
        for name, controllers, path in init_config.cgroup_mounts:
            destination = f"{mount.destination}/{name}"
            inner = _changed(mount, destination=destination, source=path)
            if own:
                inner = _changed(inner, flags=_FLAGS | readonly)
                tree = _hierarchy(inner, controllers)
            else:
                inner = _changed(inner, flags=mount.flags | syscalls.MS_BIND | syscalls.MS_REC)
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
        close(tree)
        raise
    return tree


def _attach(mounter: Mounter, mount: Mount, tree: int, folder: int, name: str) -> None:
    try:
        target = paths.make_below(folder, name, mount.destination, folder=True)
        try:
            mounter.attach(mount, tree, target)
        finally:
            close(target)
    finally:
        close(tree)


def _link_controllers(folder: int, name: str, controllers: tuple[str, ...]) -> None:
    """Create links if controllers are mounted together, so that each has its own name."""
    if len(controllers) < 2:
        return
    for controller in controllers:
        if controller != name:
            posix.symlink(name, controller, dir_fd=folder)
