# SPDX-License-Identifier: Apache-2.0
"""Labels of Linux security modules, for what this process does next (proc_pid_attr(5))."""

from __future__ import annotations

import errno
import posix

from nsenter._host.cleanup import close
from nsenter._host.syscalls import (
    PROC_SUPER_MAGIC,
    RESOLVE_BENEATH,
    RESOLVE_NO_XDEV,
    Failure,
    file_system_type,
    openat2,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

_APPARMOR_EXEC = "thread-self/attr/apparmor/exec"
_EXEC = "thread-self/attr/exec"
_KEY_CREATE = "thread-self/attr/keycreate"
# Nothing that was mounted over a file of procfs is written to, nor a procfs that is none.
_RESOLVE = RESOLVE_BENEATH | RESOLVE_NO_XDEV


def set_apparmor_exec(proc_fd: int, profile: str) -> None:
    """Have the next execve(2) change to an AppArmor profile.

    Args:
        proc_fd: the root of a procfs.
        profile: its name.

    Raises:
        Failure: AppArmor is not enabled, the profile is not loaded, or proc_fd is no procfs.
    """
    operation = "set AppArmor profile"
    try:
        fd = _open(proc_fd, _APPARMOR_EXEC)
    except Failure as failure:
        if failure.errno != errno.ENOENT:
            raise
        fd = _open(proc_fd, _EXEC)  # before Linux 5.1, the one of all modules
    _write(fd, f"exec {profile}", operation, profile, "AppArmor")


def set_selinux_exec(proc_fd: int, label: str) -> None:
    """Have the next execve(2) change to an SELinux context.

    Raises:
        Failure: SELinux is not enabled, has no such context, or proc_fd is no procfs.
    """
    _write(_open(proc_fd, _EXEC), label, "set SELinux label", label, "SELinux")


class KeyLabel:
    """A while in which the keys that are made have an SELinux context; none: as it comes."""

    def __init__(self, label: str) -> None:
        self._label = label

    def __enter__(self) -> Self:
        if self._label:
            self._set(self._label)
        return self

    def __exit__(self, *_: object) -> None:
        if self._label:
            self._set("")

    def _set(self, label: str) -> None:
        proc = posix.open("/proc", posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
        try:
            fd = _open(proc, _KEY_CREATE)
        finally:
            close(proc)
        _write(fd, label, "set SELinux label of keys", self._label, "SELinux")


def _open(proc_fd: int, path: str) -> int:
    fd = openat2(proc_fd, path, posix.O_WRONLY, resolve=_RESOLVE)
    if file_system_type(fd) != PROC_SUPER_MAGIC:
        posix.close(fd)
        raise Failure("open", f"/proc/{path}", errno.EXDEV, "/proc is not a procfs")
    return fd


def _write(fd: int, text: str, operation: str, subject: str, module: str) -> None:
    """Write, and close the descriptor."""
    try:
        posix.write(fd, text.encode())
    except OSError as error:
        number = error.errno or 0
        hints = {
            errno.EINVAL: f"{module} does not take it: is it enabled on this machine?",
            errno.ENOENT: "it is not loaded",
        }
        raise Failure(operation, subject, number, hints.get(number, "")) from None
    finally:
        close(fd)
