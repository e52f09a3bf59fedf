# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, said so that a person knows what to do next."""

from __future__ import annotations

import errno
import os

__all__ = ["BlobError", "BootstrapError"]

# What to try, by the operation that failed and its errno. One table for every BootstrapError.
_NO_PRIVILEGE = (
    "without privilege, create a user namespace along with it (`--new user … --map-root`)"
)
_HINTS: dict[tuple[str, int], str] = {
    ("unshare", errno.EPERM): _NO_PRIVILEGE
    + "; if that is refused, see the sysctls kernel.unprivileged_userns_clone and "
    "kernel.apparmor_restrict_unprivileged_userns, and the seccomp filter of a container around us",
    ("unshare", errno.ENOSPC): "a limit is reached: see /proc/sys/user/max_*_namespaces, or user "
    "namespaces are nested over 32 deep",
    (
        "unshare",
        errno.EINVAL,
    ): "the kernel lacks one of these namespaces: see `python -m nsenter types`",
    ("setns", errno.EPERM): "joining needs CAP_SYS_ADMIN in the user namespace that owns the "
    "target: join that user namespace as well, or run as root",
    ("setns", errno.EINVAL): "the path is a namespace of another kind, or the one we are in "
    "already, or a pid namespace that is not below ours",
    ("setns", errno.ESRCH): "the process of the pidfd has ended",
    ("open", errno.ENOENT): "the process has ended, or the path is wrong",
    ("open", errno.EACCES): "the process belongs to another user: run as that user or as root",
    ("write", errno.EPERM): "an unprivileged user can map its own id alone; more needs newuidmap "
    "and newgidmap (Debian: uidmap) on PATH, and ranges in /etc/subuid and /etc/subgid",
    ("write", errno.EACCES): "lowering the value, or a file of another user's process, needs root",
    ("write", errno.EINVAL): "the value is out of the kernel's range, or ids overlap",
    ("run", errno.EPERM): "see the ranges of this user in /etc/subuid and /etc/subgid, and that "
    "the tool is setuid root or has its file capabilities",
    ("wait for", errno.ETIMEDOUT): "the tool hung and was killed: does the user database answer?",
    ("setresuid", errno.EINVAL): "the user namespace maps no id 0",
    ("execve", errno.ENOENT): "the program, or the interpreter its first line names, is not in "
    "the root it is looked for in",
    ("execve", errno.EACCES): "the program is not executable by this user there",
    ("execve", errno.ENOEXEC): "the program is no executable of this machine, or a script "
    "without #!",
    ("import", errno.ENOENT): "the init imports only what travels with it: name the module in "
    "PythonInit(modules=…), a C extension in PythonInit(extensions=…)",
}
_HINTS |= {
    (clone, number): _HINTS["unshare", number]
    for clone in ("clone", "clone3")
    for number in (errno.EPERM, errno.ENOSPC, errno.EINVAL)
}


class BlobError(ValueError):
    """A bootstrap message that is refused.

    Attributes:
        attribute: the type of the attribute at fault; None for the header.
        offset: bytes from the start of the message; None where the message does not exist
            because it cannot be made.
        reason: what is wrong with it.
    """

    def __init__(
        self, reason: str, *, attribute: int | None, name: str, offset: int | None
    ) -> None:
        what = f"{name} ({attribute})" if attribute is not None else name
        where = f" at offset {offset}" if offset is not None else ""
        super().__init__(f"{what}{where}: {reason}")
        self.attribute = attribute
        self.offset = offset
        self.reason = reason


class BootstrapError(OSError):
    """A process could not be started in its namespaces.

    Attributes:
        stage: where it failed: "launcher" (this process), "parent", "child", "init".
        operation: the system call or step.
        subject: what it was done to: a path, a value, a pid.
        errno: as for any OSError.
        hint: what to try, or "".
    """

    def __init__(self, stage: str, operation: str, subject: str, number: int) -> None:
        super().__init__(number, os.strerror(number))
        self.stage = stage
        self.operation = operation
        self.subject = subject
        self.hint = _HINTS.get((operation, number), "")

    def __reduce__(self) -> tuple[type[BootstrapError], tuple[str, str, str, int]]:
        return type(self), (self.stage, self.operation, self.subject, self.errno or 0)

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        what = " ".join(filter(None, (self.operation, self.subject)))
        return f"{self.stage}: {what}: {self.strerror}{hint}"
