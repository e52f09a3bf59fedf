# SPDX-License-Identifier: Apache-2.0
"""Sealed memory, and descriptors that are opened once and kept until this process ends."""

from __future__ import annotations

import errno
import os
from _thread import allocate_lock

from nsenter._host.cleanup import close
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CachedDescriptor", "out_of_the_streams", "sealed_memfd"]

_MFD_EXEC = 0x10  # linux/memfd.h, since 6.3
_MFD_NOEXEC_SEAL = 0x08
_F_SEAL_EXEC = 0x20  # linux/fcntl.h, since 6.3
_FIRST_FREE_FD = 3  # in a child, those below are its streams


def _identity(fd: int) -> tuple[int, int, int] | None:
    try:
        status = os.fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mode


class CachedDescriptor:
    """A descriptor that is opened when it is first needed. Thread-safe.

    It is opened again if it is no longer what it was. A caller may close descriptors that it does
    not know, as a daemon does, and other files may get their numbers. Before Linux 6.3, which has a
    seal against it, a process that runs from the file as its owner may also change its mode.

    Args:
        make: opens the descriptor, close-on-exec.
    """

    def __init__(self, make: Callable[[], int]) -> None:
        self._make = make
        self._lock = allocate_lock()
        self._fd = -1
        self._known: tuple[int, int, int] | None = None

    def get(self) -> int:
        """Return the descriptor, which is at least 3.

        Raises:
            Exception: whatever `make` raises.
        """
        with self._lock:
            if self._known is None or _identity(self._fd) != self._known:
                self._fd = out_of_the_streams(self._make())
                self._known = _identity(self._fd)
            return self._fd


def out_of_the_streams(fd: int) -> int:
    """Return the descriptor, or a duplicate that is at least 3 if it is 0, 1 or 2.

    A caller that has closed its standard streams gets such low numbers.
    """
    if fd >= _FIRST_FREE_FD:
        return fd
    import fcntl  # a file of its own on some machines, and seldom needed

    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_FREE_FD)
    finally:
        close(fd)


def _memfd(name: str, *, executable: bool) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | (_MFD_EXEC if executable else _MFD_NOEXEC_SEAL))
    except OSError as error:
        if error.errno == errno.EINVAL:  # Linux before 6.3
            return os.memfd_create(name, flags)
        raise BootstrapError("launcher", "memfd_create", name, error.errno or 0) from None


def _seal(fd: int) -> None:
    """Forbid every change of the content and, if possible, of the permission to execute it."""
    import fcntl

    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | _F_SEAL_EXEC)
    except OSError:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)


def sealed_memfd(name: str, content: bytes, *, executable: bool) -> int:
    """Return a memfd that no process can change, close-on-exec.

    Raises:
        BootstrapError: there is no memory, or sysctl vm.memfd_noexec forbids executable memfds.
    """
    fd = _memfd(name, executable=executable)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        _seal(fd)
    except BaseException:
        close(fd)
        raise
    return fd
