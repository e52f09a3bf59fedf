# SPDX-License-Identifier: Apache-2.0
"""sysctl(8) in a container, through a /proc that was seen to be the kernel's."""

from __future__ import annotations

import errno
import posix

from libcontainer.init.rootfs import paths
from nsenter._host import syscalls
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_BELOW = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_XDEV


def write_sysctls(root: int, sysctls: Mapping[str, str]) -> None:
    """Write each value below /proc/sys.

    Args:
        root: descriptor of the container's root.
        sysctls: names as in sysctl.d(5), and values.
    """
    if not sysctls:
        return
    proc = paths.find_in(root, "/proc/sys")
    try:
        if proc < 0 or syscalls.file_system_type(proc) != syscalls.PROC_SUPER_MAGIC:
            why = "no proc is mounted on /proc: add one to the mounts"
            raise Failure("sysctl", "/proc/sys", errno.ENOENT, why)
        for name, value in sysctls.items():
            _write(proc, name, value)
    finally:
        if proc >= 0:
            close(proc)


def _write(proc: int, name: str, value: str) -> None:
    try:
        fd = syscalls.openat2(proc, _path_of(name), posix.O_WRONLY, resolve=_BELOW)
        try:
            posix.write(fd, value.encode())
        finally:
            close(fd)
    except OSError as error:
        raise Failure("sysctl", f"{name}={value}", error.errno or 0) from None


def _path_of(name: str) -> str:
    """Return the path of a sysctl.

    The first separator decides: "net.ipv4.conf.eth0/1.mtu" or "net/ipv4/conf/eth0.1".
    """
    first = next((char for char in name if char in "./"), ".")
    return name if first == "/" else name.translate({ord("."): "/", ord("/"): "."})
