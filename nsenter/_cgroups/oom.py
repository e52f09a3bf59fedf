# SPDX-License-Identifier: Apache-2.0
"""Being told that the kernel has killed for memory in a cgroup."""

from __future__ import annotations

import os
import select

from nsenter._cgroups.files import explained, read, write
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self


class OomWatch:
    """Tells of each time that there was not enough memory in a cgroup.

    Attributes:
        gone: whether the cgroup has ended; nothing more will come.
    """

    def __init__(self) -> None:
        self.gone = False
        self._fds: list[int] = []

    def fileno(self) -> int:
        """Readable when there is something to be told by `wait(0)`."""
        raise NotImplementedError

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for news, at most `timeout` seconds.

        Returns:
            whether it was that memory was not enough; else see `gone`.
        """
        ready = select.poll()
        ready.register(self.fileno(), select.POLLIN)
        return bool(ready.poll(None if timeout is None else timeout * 1000)) and self._look()

    def close(self) -> None:
        """No more is told."""
        while self._fds:
            close(self._fds.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _look(self) -> bool:
        raise NotImplementedError

    def _open(self, path: str) -> int:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            number = error.errno or 0
            self.close()
            raise Failure("watch", path, number, explained(number)) from None
        self._fds.append(fd)
        return fd


class LegacyWatch(OomWatch):
    """Of cgroup v1: an eventfd on memory.oom_control (admin-guide/cgroup-v1/memory).

    Args:
        path: of the cgroup of the memory controller.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        control = self._open(f"{path}/memory.oom_control")
        self._event = os.eventfd(0, os.EFD_CLOEXEC)
        self._fds.append(self._event)
        try:
            write(f"{path}/cgroup.event_control", f"{self._event} {control}")
        except Failure:
            self.close()
            raise

    def fileno(self) -> int:
        return self._event

    def _look(self) -> bool:
        os.eventfd_read(self._event)
        # The kernel signals the end of a cgroup in the same way.
        self.gone = not os.path.exists(self._path)
        return not self.gone


class UnifiedWatch(OomWatch):
    """Of cgroup v2: oom_kill of memory.events (admin-guide/cgroup-v2), which tells poll(2)."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        files = [self._open(f"{path}/{name}") for name in ("memory.events", "cgroup.events")]
        self._changes = select.epoll()
        for fd in files:
            self._changes.register(fd, select.EPOLLPRI)
        self._seen = self._count("memory.events", "oom_kill")

    def _count(self, file: str, key: str) -> int:
        words = read(f"{self._path}/{file}").split()
        return int(dict(zip(words[::2], words[1::2], strict=False)).get(key, 0))

    def fileno(self) -> int:
        return self._changes.fileno()

    def close(self) -> None:
        super().close()
        if hasattr(self, "_changes"):
            self._changes.close()

    def _look(self) -> bool:
        for fd in self._fds:
            try:
                os.pread(fd, 4096, 0)  # told of this change, now of the next
            except OSError:
                self.gone = True
        now = self._count("memory.events", "oom_kill")
        told, self._seen = now > self._seen, max(now, self._seen)
        self.gone = self.gone or not self._count("cgroup.events", "populated")
        return told
