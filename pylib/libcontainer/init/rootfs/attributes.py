# SPDX-License-Identifier: Apache-2.0
"""Flags of mounts: the bits of mount(2), as configurations have them, for mount_setattr(2)."""

from __future__ import annotations

import posix

from nsenter._host import syscalls
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Mount

# (of mount(2), of mount_setattr(2))
_BITS = (
    (syscalls.MS_RDONLY, syscalls.MOUNT_ATTR_RDONLY),
    (syscalls.MS_NOSUID, syscalls.MOUNT_ATTR_NOSUID),
    (syscalls.MS_NODEV, syscalls.MOUNT_ATTR_NODEV),
    (syscalls.MS_NOEXEC, syscalls.MOUNT_ATTR_NOEXEC),
    (syscalls.MS_NOSYMFOLLOW, syscalls.MOUNT_ATTR_NOSYMFOLLOW),
)
# One of them holds; that of 0 is the default.
_ATIMES = (
    (syscalls.MS_NOATIME, syscalls.MOUNT_ATTR_NOATIME),
    (syscalls.MS_STRICTATIME, syscalls.MOUNT_ATTR_STRICTATIME),
    (syscalls.MS_RELATIME, syscalls.MOUNT_ATTR_RELATIME),
)
ANY_ATIME = (
    syscalls.MS_NOATIME | syscalls.MS_STRICTATIME | syscalls.MS_RELATIME | syscalls.MS_NODIRATIME
)
ALL = sum(attribute for _, attribute in _BITS)
TIMES = syscalls.MOUNT_ATTR__ATIME | syscalls.MOUNT_ATTR_NODIRATIME
# What the kernel locks of a mount that another user namespace brings, beside the times.
LOCKABLE = ALL & ~syscalls.MOUNT_ATTR_NOSYMFOLLOW
# (of statvfs(3), of mount_setattr(2))
_SEEN = (
    (posix.ST_RDONLY, syscalls.MOUNT_ATTR_RDONLY),
    (posix.ST_NOSUID, syscalls.MOUNT_ATTR_NOSUID),
    (posix.ST_NODEV, syscalls.MOUNT_ATTR_NODEV),
    (posix.ST_NOEXEC, syscalls.MOUNT_ATTR_NOEXEC),
    (posix.ST_NODIRATIME, syscalls.MOUNT_ATTR_NODIRATIME),
)
# Bits that say how to mount, not with which flags.
_HOW = syscalls.MS_BIND | syscalls.MS_REC | syscalls.MS_REMOUNT
_MOUNTING = "error mounting"
_PROPAGATION = syscalls.MS_PRIVATE | syscalls.MS_SLAVE | syscalls.MS_SHARED | syscalls.MS_UNBINDABLE


def attributes_of(flags: int) -> int:
    """Return the MOUNT_ATTR_* bits of a new mount with these MS_* bits."""
    attributes = sum(attribute for flag, attribute in _BITS if flags & flag)
    if flags & syscalls.MS_NODIRATIME:
        attributes |= syscalls.MOUNT_ATTR_NODIRATIME
    for flag, attribute in _ATIMES:
        if flags & flag:
            return attributes | attribute
    return attributes


def attributes_at(fd: int) -> int:
    """Return the MOUNT_ATTR_* bits of the mount that a descriptor refers to."""
    seen = posix.fstatvfs(fd).f_flag
    attributes = sum(attribute for flag, attribute in _SEEN if seen & flag)
    if seen & posix.ST_NOATIME:
        return attributes | syscalls.MOUNT_ATTR_NOATIME
    return attributes if seen & posix.ST_RELATIME else attributes | syscalls.MOUNT_ATTR_STRICTATIME


def changes_of(flags: int, cleared: int) -> tuple[int, int]:
    """Return the MOUNT_ATTR_* bits to set and to clear on a bind mount.

    If an option names any flag, the mount has the flags that are asked for and no others, as after
    a remount, and as with runc 1.2 and crun: "bind,dev" of a read-only source is writable. Its
    access times change only if an option sets them. If no option names a flag, the mount keeps the
    flags of its source.
    """
    flags &= ~_HOW
    if not flags and not cleared:
        return 0, 0
    attributes = attributes_of(flags)
    clear = ALL & ~attributes
    if flags & ANY_ATIME:
        # Of the times, all are cleared if one is set (mount_setattr(2)).
        clear |= TIMES & ~(attributes & syscalls.MOUNT_ATTR_NODIRATIME)
    return attributes, clear


def unwanted(cleared: int) -> int:
    """Return the MOUNT_ATTR_* bits that an option asks to be off."""
    return attributes_of(cleared & ~ANY_ATIME)


def whole_times(clear: int) -> int:
    """Return a mask for `clear` that mount_setattr(2) accepts: access times are one field of it."""
    times = syscalls.MOUNT_ATTR__ATIME
    return clear | times if clear & times else clear


def is_late_readonly(mount: Mount) -> bool:
    """Whether a mount is read-only only when all is in it, as a tmpfs and /dev are."""
    late = mount.device == "tmpfs" or mount.destination.rstrip("/") == "/dev"
    flags = mount.flags & (syscalls.MS_RDONLY | syscalls.MS_BIND)
    return late and flags == syscalls.MS_RDONLY


def failed(mount: Mount, failure: OSError, hint: str = "") -> Failure:
    """Return the error of a mount for the error of one of its steps, in runc's words.

    Args:
        mount: the mount.
        failure: the error of the step.
        hint: what to try.
    """
    if isinstance(failure, Failure) and failure.operation == _MOUNTING:
        return failure
    step = str(failure) if isinstance(failure, Failure) else failure.strerror or str(failure)
    why = f"{step} ({hint})" if hint else step
    what = f'"{mount.source}" to rootfs at "{mount.destination}"'
    return Failure(_MOUNTING, what, failure.errno or 0, why)


def propagate(fd: int, flags: int, subject: str) -> None:
    """Set the propagation of a mount: one of MS_PRIVATE …, with or without MS_REC."""
    recursive = bool(flags & syscalls.MS_REC)
    kind = flags & _PROPAGATION
    syscalls.mount_setattr(fd, propagation=kind, recursive=recursive, subject=subject)
