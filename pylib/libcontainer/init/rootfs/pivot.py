# SPDX-License-Identifier: Apache-2.0
"""From the host's root into the container's: pivot_root(2), and the way without it."""

from __future__ import annotations

import errno
import posix

from libcontainer.init.rootfs.attributes import propagate
from nsenter._host import procfs, syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
_SLAVE = syscalls.MS_SLAVE | syscalls.MS_REC
# What shows the host, and more of it than a container's own does.
_KERNELS = ("proc", "sysfs")


def pivot(root: int) -> None:
    """Make a mount the root; the old one comes to lie on it, and is taken off.

    Args:
        root: descriptor of the mount.
    """
    old = posix.open("/", _FOLDER)
    try:
        posix.fchdir(root)
        try:
            syscalls.pivot_root(".", ".")
        except Failure as failure:
            if failure.errno != errno.EINVAL:
                raise
            why = f"{failure.strerror} (on a ramdisk it takes --no-pivot)"
            raise Failure("pivot_root", "the container's root", errno.EINVAL, why) from None
        posix.fchdir(old)
        # What is unmounted here must not be unmounted on the host.
        propagate(old, _SLAVE, "the propagation of the old root")
        syscalls.umount(".", syscalls.MNT_DETACH)
    finally:
        close(old)


def move_root(root: int, rootfs: str) -> None:
    """Move the mount over the old root, for a ramdisk, from which pivot_root(2) is not possible.

    Mounts of the host's proc and sysfs that would stay reachable are removed first.

    Args:
        root: a descriptor of the mount.
        rootfs: its path.
    """
    for point in _kernel_mounts(besides=rootfs):
        _take_off(point)
    old = posix.open("/", _FOLDER)
    try:
        syscalls.move_mount(root, old, f"{rootfs} to /")
    finally:
        close(old)
    posix.fchdir(root)
    posix.chroot(".")


def _kernel_mounts(*, besides: str) -> list[str]:
    """Return the mount points of proc and sysfs, the innermost first.

    A mount point is listed once for each mount on it. A mount that covers a proc or sysfs would
    otherwise only be removed from it.
    """
    mounts = procfs.mounts()
    found = {
        mount.point
        for mount in mounts
        if mount.fstype in _KERNELS and not f"{mount.point}/".startswith(f"{besides}/")
    }
    return sorted((mount.point for mount in mounts if mount.point in found), reverse=True)


def _take_off(point: str) -> None:
    try:
        # What is unmounted here must not be unmounted on the host.
        syscalls.mount("", point, "", _SLAVE)
        syscalls.umount(point, syscalls.MNT_DETACH)
    except Failure as failure:
        if failure.errno == errno.ENOENT:  # below another mount, out of reach
            return
        if failure.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # Locked, in a user namespace: hidden then.
        syscalls.mount("tmpfs", point, "tmpfs", syscalls.MS_RDONLY, "nr_blocks=1,nr_inodes=1")
