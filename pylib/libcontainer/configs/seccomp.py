# SPDX-License-Identifier: Apache-2.0
"""A seccomp policy, as in OCI's linux.seccomp. libcontainer.seccomp compiles it to a filter."""

from __future__ import annotations

from nsenter._host.records import Value


class SyscallArgument(Value):
    """A condition on one argument of a system call.

    Args:
        index: the number of the argument, from 0 to 5.
        value: the number to compare with; for SCMP_CMP_MASKED_EQ, the mask.
        op: the comparison: "SCMP_CMP_EQ" and so on.
        value_two: for SCMP_CMP_MASKED_EQ, the number to compare with.
    """

    index: int
    value: int
    op: str
    value_two: int = 0


class SyscallRule(Value):
    """A rule: what happens when a process makes one of some system calls.

    Args:
        names: the names of the system calls.
        action: what happens: "SCMP_ACT_ALLOW" and so on.
        errno_ret: the error number for SCMP_ACT_ERRNO and SCMP_ACT_TRACE. None means EPERM.
        args: conditions on the arguments. The rule applies if all of them are true.
    """

    nested = {"args": SyscallArgument}

    names: tuple[str, ...]
    action: str
    errno_ret: int | None = None
    args: tuple[SyscallArgument, ...] = ()


class Seccomp(Value):
    """A system call policy.

    Args:
        default_action: what happens when a process makes a system call to which no rule applies.
        default_errno_ret: the error number for SCMP_ACT_ERRNO and SCMP_ACT_TRACE. None means EPERM.
        architectures: "SCMP_ARCH_X86_64" and so on. The native architecture is always included.
        flags: "SECCOMP_FILTER_FLAG_LOG", "…_SPEC_ALLOW", "…_WAIT_KILLABLE_RECV", "…_TSYNC".
        syscalls: the rules.
        listener_path: the path of the socket to which the notify descriptor is sent.
        listener_metadata: a text that is sent together with the descriptor.
    """

    nested = {"syscalls": SyscallRule}

    default_action: str
    default_errno_ret: int | None = None
    architectures: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    syscalls: tuple[SyscallRule, ...] = ()
    listener_path: str = ""
    listener_metadata: str = ""
