# SPDX-License-Identifier: Apache-2.0
"""libseccomp, as far as it is needed to make a program."""

from __future__ import annotations

import errno
import os

from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure
from nsenter._libseccomp import ffi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Condition = tuple[int, int, int, int]  # index, operator, value, second value: scmp_arg_cmp

__all__ = ["UNKNOWN", "Filter", "is_known", "load", "name_of"]

_NAME = "libseccomp.so.2"
_CTL_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE
_BINARY_TREE = 2
UNKNOWN = -1  # __NR_SCMP_ERROR
_kept: list[Any] = []


def load() -> Any:
    """Return the library, which is opened once.

    Raises:
        OSError: it is not installed.
    """
    if not _kept:
        _kept.append(ffi.dlopen(_NAME))
    return _kept[0]


def is_known(name: str) -> bool:
    """Return whether there is a system call of this name on any architecture."""
    return bool(load().seccomp_syscall_resolve_name(name.encode()) != UNKNOWN)


def name_of(architecture: int, number: int) -> str:
    """Return the name of a system call; "" if the library does not know it.

    Args:
        architecture: AUDIT_ARCH_* of linux/audit.h.
        number: the number of the call there.

    Raises:
        OSError: libseccomp is not installed.
    """
    found = load().seccomp_syscall_resolve_num_arch(architecture, number)
    if not found:
        return ""
    try:
        return str(ffi.string(found).decode())
    finally:
        ffi.dlopen(None).free(found)


class Filter:
    """A program in the making, for the native architecture.

    Args:
        default: SECCOMP_RET_* for what no rule is for.
    """

    def __init__(self, default: int) -> None:
        self._lib = load()
        context = self._lib.seccomp_init(default)
        if not context:
            raise Failure("seccomp_init", hex(default), errno.EINVAL)
        self._context = ffi.gc(context, self._lib.seccomp_release)

    def add_architecture(self, token: int) -> None:
        """Apply the rules to this architecture, too."""
        result = self._lib.seccomp_arch_add(self._context, token)
        if result != -errno.EEXIST:  # the native one is there from the beginning
            _check("seccomp_arch_add", hex(token), result)

    def optimize(self) -> None:
        """Look system calls up in a tree. A library older than 2.5 goes on without one."""
        self._lib.seccomp_attr_set(self._context, _CTL_OPTIMIZE, _BINARY_TREE)

    def add(self, name: str, action: int, alternatives: list[list[Condition]]) -> None:
        """Add a rule for each of the alternatives. An unknown system call is ignored."""
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == UNKNOWN:
            return
        for conditions in alternatives:
            array = ffi.new("struct scmp_arg_cmp[]", conditions) if conditions else ffi.NULL
            result = self._lib.seccomp_rule_add_array(
                self._context, action, number, len(conditions), array
            )
            _check("seccomp_rule_add", name, result)

    def export(self) -> bytes:
        """Return the instructions: the bytes of an array of struct sock_filter."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            _check("seccomp_export_bpf", "", self._lib.seccomp_export_bpf(self._context, fd))
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            close(fd)


def _check(operation: str, subject: str, result: int) -> None:
    if result < 0:
        raise Failure(operation, subject, -result)
