# SPDX-License-Identifier: Apache-2.0
"""libseccomp, as far as it is needed to make a program."""

from __future__ import annotations

import errno
import os

from libcontainer.errors import ConfigError, ContainerError
from libcontainer.seccomp._libseccomp import ffi
from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from libcontainer.seccomp.policies import Condition

__all__ = ["Filter", "architecture", "identity", "newest"]

_NAME = "libseccomp.so.2"
_PREFIX = "SCMP_ARCH_"
_CTL_OPTIMIZE = 8  # SCMP_FLTATR_CTL_OPTIMIZE
_BINARY_TREE = 2
_UNKNOWN = -1  # __NR_SCMP_ERROR
_kept: list[Any] = []


def _open() -> Any:
    """The library, opened once."""
    if not _kept:
        try:
            _kept.append(ffi.dlopen(_NAME))
        except OSError as error:
            raise ContainerError(
                f"linux.seccomp needs libseccomp, and it cannot be loaded ({error}); "
                "install it (on Debian: apt-get install libseccomp2), or remove linux.seccomp"
            ) from None
    return _kept[0]


def identity() -> tuple[int, int, int, int]:
    """Of what makes the programs: the library's version and the machine's architecture."""
    lib = _open()
    version = lib.seccomp_version()
    return version.major, version.minor, version.micro, lib.seccomp_arch_native()


def architecture(name: str, where: str) -> int:
    """libseccomp's token for OCI's name, such as "SCMP_ARCH_X86_64".

    Raises:
        ConfigError: there is none; `where` is in it.
    """
    short = name.removeprefix(_PREFIX)
    token: int = 0
    if short != name and short == short.upper():
        token = _open().seccomp_arch_resolve_name(short.lower().encode())
    if not token:
        raise ConfigError(where, f"{name!r} is no architecture that libseccomp knows")
    return token


def newest(names: Iterable[str], architectures: Iterable[int]) -> dict[int, int]:
    """The highest number that the named system calls have, for each architecture and the
    native one; none for an architecture that has none of them."""
    lib = _open()
    resolve = lib.seccomp_syscall_resolve_name_arch
    encoded = [name.encode() for name in names]
    found = {
        token: max((resolve(token, name) for name in encoded), default=_UNKNOWN)
        for token in {*architectures, lib.seccomp_arch_native()}
    }
    return {token: number for token, number in found.items() if number > 0}


class Filter:
    """A program in the making, for the native architecture.

    Args:
        default: SECCOMP_RET_* for what no rule is for.
    """

    def __init__(self, default: int) -> None:
        self._lib = _open()
        context = self._lib.seccomp_init(default)
        if not context:
            raise Failure("seccomp_init", hex(default), errno.EINVAL)
        self._context = ffi.gc(context, self._lib.seccomp_release)

    def add_architecture(self, token: int) -> None:
        """The rules are for this one, too."""
        result = self._lib.seccomp_arch_add(self._context, token)
        if result != -errno.EEXIST:  # the native one is there from the beginning
            _check("seccomp_arch_add", hex(token), result)

    def optimize(self) -> None:
        """Look system calls up in a tree. A library older than 2.5 goes on without one."""
        self._lib.seccomp_attr_set(self._context, _CTL_OPTIMIZE, _BINARY_TREE)

    def add(self, name: str, action: int, alternatives: list[list[Condition]]) -> None:
        """A rule for each of the alternatives. A system call of another kernel is passed over."""
        number = self._lib.seccomp_syscall_resolve_name(name.encode())
        if number == _UNKNOWN:
            return
        for conditions in alternatives:
            array = ffi.new("struct scmp_arg_cmp[]", conditions) if conditions else ffi.NULL
            result = self._lib.seccomp_rule_add_array(
                self._context, action, number, len(conditions), array
            )
            _check("seccomp_rule_add", name, result)

    def export(self) -> bytes:
        """The instructions, struct sock_filter each."""
        fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
        try:
            _check("seccomp_export_bpf", "", self._lib.seccomp_export_bpf(self._context, fd))
            return os.pread(fd, os.fstat(fd).st_size, 0)
        finally:
            os.close(fd)


def _check(operation: str, subject: str, result: int) -> None:
    if result < 0:
        raise Failure(operation, subject, -result)
