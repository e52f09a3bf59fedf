# SPDX-License-Identifier: Apache-2.0
"""Which system call made a step fail because a filter refuses it, or an old kernel lacks it.

A failed call is made again with arguments that the kernel refuses in a way of its own: another
refusal is a filter's. The calls of a step are tried in their order, up to the first that is
refused, so none is made that has not just been made anyway: a filter may kill for another one.
"""

from __future__ import annotations

import posix
from errno import EBADF, EINVAL, ENOSYS, EPERM

from nsenter._host import syscalls
from nsenter._host.procfs import has_admin
from nsenter._nsexec import lib

__all__ = ["refused_call", "why_refused"]

_BAD = -1
_MOUNT = ("fsopen", "fsconfig", "fsmount", "move_mount")
# Calls: since which Linux, the number, arguments, what the kernel says to them, and whether it
# looks at capabilities before it looks at those.
_CALLS: dict[str, tuple[str, int, tuple[object, ...], int, bool]] = {
    "open_tree": ("5.2", lib.SYS_open_tree, (_BAD, "x", 0), EBADF, False),
    "move_mount": ("5.2", lib.SYS_move_mount, (_BAD, "", _BAD, "", _BAD), EINVAL, True),
    "fsopen": ("5.2", lib.SYS_fsopen, ("", _BAD), EINVAL, True),
    "fsconfig": ("5.2", lib.SYS_fsconfig, (_BAD, 0, 0, 0, 0), EINVAL, False),
    "fsmount": ("5.2", lib.SYS_fsmount, (_BAD, _BAD, 0), EINVAL, True),
    "mount_setattr": ("5.12", lib.SYS_mount_setattr, (_BAD, "x", 0, 0, 0), EINVAL, False),
    "pidfd_send_signal": ("5.1", 424, (_BAD, 0, 0, _BAD), EINVAL, False),
    "pidfd_open": ("5.3", 434, (_BAD, 0), EINVAL, False),
    "close_range": ("5.9", lib.SYS_close_range, (2, 1, 0), EINVAL, False),
    "openat2": ("5.6", lib.SYS_openat2, (_BAD, "x", 0, 0), EINVAL, False),
    "landlock_create_ruleset": ("5.13", 444, (0, 0, 1), 0, False),
    "seccomp": ("3.17", lib.SYS_seccomp, (2, 0, b"\0\0\xff\x7f"), 0, False),
    "memfd_create": ("3.17", lib.SYS_memfd_create, ("", 0xFFFFFFFF), EINVAL, False),
}
# Steps that are named by what they do.
_STEPS: dict[str, tuple[str, ...]] = {
    "bind": ("open_tree", "mount_setattr"),
    "mount": _MOUNT[:3],
    "fsmount": _MOUNT[:3],
    "mount the root": ("open_tree", "mount_setattr", "move_mount"),
    "mount the root tmpfs": _MOUNT,
    "open the mount point": ("openat2",),
    "keep the descriptors": ("close_range",),
}


def refused_call(operation: str, subject: str = "") -> str:
    """Return the first call of a step that cannot be made here at all; "" if there is none.

    Args:
        operation: the operation of the error: the name of a call or of a step.
        subject: the subject of the error.
    """
    kind = subject.partition(",")[0]  # "tmpfs", or that with options
    calls = _STEPS.get(f"{operation} {kind}") or _STEPS.get(operation, (operation,))
    return next((name for name in calls if name in _CALLS and _is_refused(name)), "")


def _is_refused(name: str) -> bool:
    _, number, arguments, expected, needs_admin = _CALLS[name]
    try:
        syscalls.call(name, "", number, *arguments)
    except syscalls.Failure as failure:
        if failure.errno == expected:
            return False
        return (
            failure.errno == ENOSYS
            or (failure.errno == EPERM and not needs_admin)
            or (failure.errno == EPERM and has_admin())
        )
    return False


def why_refused(operation: str, number: int, subject: str = "") -> str:
    """Return what to do about a step that failed because of a filter or an old kernel; or "".

    Args:
        operation: the operation of the error.
        number: the errno.
        subject: the subject of the error.
    """
    if number not in (ENOSYS, EPERM):
        return ""
    name = refused_call(operation, subject)
    if not name:
        return ""
    since = _CALLS[name][0]
    if number == ENOSYS and _kernel() < _version(since):
        return f"{name}(2) requires Linux {since} or newer"
    return (
        f"a seccomp filter refuses {name}(2): if it is a container's, start that with "
        f"`--security-opt seccomp=unconfined`, or with a profile that allows {name}"
    )


def _kernel() -> tuple[int, ...]:
    return _version(posix.uname().release.partition("-")[0])


def _version(text: str) -> tuple[int, ...]:
    digits = ("".join(filter(str.isdecimal, part)) for part in text.split(".")[:2])
    return tuple(int(part or "0") for part in digits)
