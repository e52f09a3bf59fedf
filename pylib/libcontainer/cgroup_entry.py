# SPDX-License-Identifier: Apache-2.0
"""How a process that is started gets into its cgroup."""

from __future__ import annotations

from nsenter._host.cleanup import close
from nsenter._launch.descriptors import Descriptors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.cgroups import Manager

__all__ = ["CgroupEntry"]


class CgroupEntry:
    """The way into a cgroup, of the three that there are.

    With cgroup v2, the process is cloned into it (`fd`). With cgroup v1, it writes itself into the
    cgroup through descriptors of `tasks` files. If neither is possible, the parent moves it.

    Args:
        manager: the manager of the cgroup.

    Attributes:
        manager: the same.
        fd: a descriptor of the cgroup to clone the process into; None if that is not possible.
        has_tasks_fds: whether the process enters through `tasks` files of cgroup v1.
        is_moved: whether the parent moves the process.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.fd = manager.fd()
        self.has_tasks_fds = manager.has_tasks_fds()
        self.is_moved = self.fd is None and not self.has_tasks_fds
        self._tasks_fds = Descriptors()

    def __enter__(self) -> CgroupEntry:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open_tasks_fds(self) -> tuple[int, ...]:
        """Open the `tasks` files through which the process enters, if any; return descriptors."""
        if self.has_tasks_fds:
            for fd in self.manager.tasks_fds():
                self._tasks_fds.add(fd)
        return self.tasks_fds()

    def tasks_fds(self) -> tuple[int, ...]:
        """Return the descriptors of the `tasks` files that are open."""
        return tuple(self._tasks_fds.numbers())

    def move_instead(self) -> None:
        """From now on, let the parent move the process.

        A cgroup that has as many processes as it may have refuses a process that is made in it, but
        not one that is moved to it.
        """
        self.close()
        self.has_tasks_fds, self.is_moved = False, True

    def close(self) -> None:
        """Close the descriptors."""
        self._tasks_fds.close()
        if self.fd is not None:
            fd, self.fd = self.fd, None
            close(fd)
