# SPDX-License-Identifier: Apache-2.0
"""A seccomp policy, as OCI's linux.seccomp says it; libcontainer.seccomp makes a program of it."""

from __future__ import annotations

from nsenter._host.records import Value


class SyscallArgument(Value):
    """A condition on one argument of a system call.

    Args:
        index: of the argument, 0 … 5.
        value, value_two: to compare with; for SCMP_CMP_MASKED_EQ the mask and the value.
        op: "SCMP_CMP_EQ" and so on.
    """

    index: int
    value: int
    op: str
    value_two: int = 0


class SyscallRule(Value):
    """What happens at some system calls.

    Args:
        names: of the system calls.
        action: "SCMP_ACT_ALLOW" and so on.
        errno_ret: for SCMP_ACT_ERRNO and SCMP_ACT_TRACE; None: EPERM.
        args: conditions, all of which hold.
    """

    nested = {"args": SyscallArgument}

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SyscallArgument, ...] = ()


class Seccomp(Value):
    """A policy.

    Args:
        default_action: what happens at any other system call.
        default_errno_ret: for SCMP_ACT_ERRNO and SCMP_ACT_TRACE; None: EPERM.
        architectures: "SCMP_ARCH_X86_64" and so on; the native one is always there.
        flags: "SECCOMP_FILTER_FLAG_LOG", "…_SPEC_ALLOW", "…_WAIT_KILLABLE_RECV", "…_TSYNC".
        syscalls: the rules.
        listener_path: the socket that gets the notify descriptor.
        listener_metadata: passed along with it.
    """

    nested = {"syscalls": SyscallRule}

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    syscalls: tuple[SyscallRule, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
