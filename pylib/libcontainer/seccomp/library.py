# SPDX-License-Identifier: Apache-2.0
"""libseccomp with OCI's names of architectures and the errors of containers."""

from __future__ import annotations

import errno

from libcontainer.errors import ConfigError, ContainerError
from nsenter._host import libseccomp
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from nsenter._host.libseccomp import Condition

__all__ = ["Filter", "architecture", "identity", "newest"]

_PREFIX = "SCMP_ARCH_"


def _open() -> Any:
    try:
        return libseccomp.load()
    except OSError as error:
        raise ContainerError(
            f"linux.seccomp requires libseccomp, which cannot be loaded ({error}); "
            "install it (on Debian: apt-get install libseccomp2), or remove linux.seccomp"
        ) from None


def identity() -> tuple[int, int, int, int]:
    """Return what identifies the compiler: the version of libseccomp and the architecture."""
    lib = _open()
    version = lib.seccomp_version()
    return version.major, version.minor, version.micro, lib.seccomp_arch_native()


def architecture(name: str, where: str) -> int:
    """Return the libseccomp token for OCI's name of an architecture, such as "SCMP_ARCH_X86_64".

    Raises:
        ConfigError: the name is unknown; the message begins with `where`.
    """
    short = name.removeprefix(_PREFIX)
    token: int = 0
    if short != name and short == short.upper():
        token = _open().seccomp_arch_resolve_name(short.lower().encode())
    if not token:
        raise ConfigError(where, f"{name!r} is not an architecture that libseccomp knows")
    return token


def newest(names: Iterable[str], architectures: Iterable[int]) -> dict[int, int]:
    """Return the highest number of the named system calls, by architecture.

    The native architecture is included. An architecture that has none of the calls is left out.
    """
    lib = _open()
    resolve = lib.seccomp_syscall_resolve_name_arch
    encoded = [name.encode() for name in names]
    found = {
        token: max((resolve(token, name) for name in encoded), default=libseccomp.UNKNOWN)
        for token in {*architectures, lib.seccomp_arch_native()}
    }
    return {token: number for token, number in found.items() if number > 0}


class Filter(libseccomp.Filter):
    """A libseccomp filter; see nsenter._host.libseccomp.Filter.

    Raises:
        ContainerError: libseccomp is not installed.
    """

    def __init__(self, default: int) -> None:
        _open()
        super().__init__(default)

    def add_named_architecture(self, token: int, name: str, where: str) -> None:
        """Add an architecture; errors say where it is in config.json."""
        try:
            self.add_architecture(token)
        except Failure as failure:
            if failure.errno != errno.EDOM:
                raise
            why = f"{name} has another byte order than this machine: remove it"
            raise ConfigError(where, why) from None

    def add_rule(
        self, where: str, name: str, action: int, alternatives: list[list[Condition]]
    ) -> None:
        """Add a rule; errors say where it is in config.json."""
        try:
            self.add(name, action, alternatives)
        except Failure as failure:
            if failure.errno != errno.EEXIST:
                raise
            why = f"{name}: a rule before it has the same conditions and another action: remove one"
            raise ConfigError(where, why) from None
