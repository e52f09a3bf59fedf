# SPDX-License-Identifier: Apache-2.0
"""Labels of Linux security modules, for the program that is executed next (proc_pid_attr(5))."""

from __future__ import annotations

import errno
import posix

from nsenter.system import PROC_SUPER_MAGIC, RESOLVE_BENEATH, Failure, file_system_type, openat2


def set_apparmor_exec(proc_fd: int, profile: str) -> None:
    """Have the next execve(2) change to an AppArmor profile."""
    for path in ("thread-self/attr/apparmor/exec", "thread-self/attr/exec"):
        if _write(proc_fd, path, f"exec {profile}", f"AppArmor profile {profile}"):
            return
    raise Failure(
        "set the AppArmor profile", profile, errno.ENOENT, "AppArmor is not enabled on this machine"
    )


def set_selinux_exec(proc_fd: int, label: str) -> None:
    """Have the next execve(2) change to an SELinux context."""
    if not _write(proc_fd, "thread-self/attr/exec", label, f"SELinux label {label}"):
        raise Failure(
            "set the SELinux label", label, errno.ENOENT, "SELinux is not enabled on this machine"
        )


def _write(proc_fd: int, path: str, text: str, what: str) -> bool:
    """False where the kernel has no such file, or takes nothing from it."""
    try:
        fd = openat2(proc_fd, path, posix.O_WRONLY, resolve=RESOLVE_BENEATH)
    except Failure as failure:
        if failure.errno in (errno.ENOENT, errno.EACCES):
            return False
        raise
    try:
        if file_system_type(fd) != PROC_SUPER_MAGIC:
            raise Failure("set a label", what, errno.EXDEV, "/proc is no procfs")
        posix.write(fd, text.encode())
    except OSError as error:
        if error.errno == errno.EINVAL:
            return False
        raise Failure("set a label", what, error.errno or 0) from None
    finally:
        posix.close(fd)
    return True
