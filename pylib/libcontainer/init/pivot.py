# SPDX-License-Identifier: Apache-2.0
"""From the host's root into the container's: pivot_root(2), and the way without it."""

from __future__ import annotations

import errno
import posix

from libcontainer.init.attributes import propagate
from nsenter import procfs, system
from nsenter.system import Failure
from nsenter.undo import close

_FOLDER = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
_SLAVE = system.MS_SLAVE | system.MS_REC
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
            system.pivot_root(".", ".")
        except Failure as failure:
            if failure.errno != errno.EINVAL:
                raise
            why = f"{failure.strerror} (on a ramdisk it takes --no-pivot)"
            raise Failure("pivot_root", "the container's root", errno.EINVAL, why) from None
        posix.fchdir(old)
        # What is unmounted here must not be unmounted on the host.
        propagate(old, _SLAVE, "the propagation of the old root")
        system.umount(".", system.MNT_DETACH)
    finally:
        close(old)


def move_root(root: int, rootfs: str) -> None:
    """For a ramdisk, from which nothing can be pivoted: the mount is put over the old root.

    What of the host's proc and sysfs would stay in reach is taken off first.

    Args:
        root: descriptor of the mount.
        rootfs: its path.
    """
    for point in _kernel_mounts(besides=rootfs):
        _take_off(point)
    old = posix.open("/", _FOLDER)
    try:
        system.move_mount(root, old, f"{rootfs} to /")
    finally:
        close(old)
    posix.fchdir(root)
    posix.chroot(".")


def _kernel_mounts(*, besides: str) -> list[str]:
    """Where proc and sysfs are mounted, the innermost first. A place is named once for each mount
    that is on it: what covers one of these would only be taken off it."""
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
        system.mount("", point, "", _SLAVE)
        system.umount(point, system.MNT_DETACH)
    except Failure as failure:
        if failure.errno == errno.ENOENT:  # below another mount, out of reach
            return
        if failure.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # Locked, in a user namespace: hidden then.
        system.mount("tmpfs", point, "tmpfs", system.MS_RDONLY, "nr_blocks=1,nr_inodes=1")
