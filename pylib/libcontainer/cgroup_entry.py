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
    cgroup through descriptors of files, its doors. If neither is possible, the parent moves it.

    Args:
        manager: the manager of the cgroup.

    Attributes:
        manager: the same.
        fd: a descriptor of the cgroup to clone the process into; None if that is not possible.
        has_doors: whether the process enters by doors.
        is_moved: whether the parent moves the process.
    """

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.fd = manager.fd()
        self.has_doors = manager.has_doors()
        self.is_moved = self.fd is None and not self.has_doors
        self._doors = Descriptors()

    def __enter__(self) -> CgroupEntry:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def open_doors(self) -> tuple[int, ...]:
        """Open the doors, if the process enters by them; return their descriptors."""
        if self.has_doors:
            for door in self.manager.doors():
                self._doors.add(door)
        return self.doors()

    def doors(self) -> tuple[int, ...]:
        """Return the descriptors of the doors that are open."""
        return tuple(self._doors.numbers())

    def move_instead(self) -> None:
        """From now on, let the parent move the process.

        A cgroup that has as many processes as it may have refuses a process that is made in it, but
        not one that is moved to it.
        """
        self.close()
        self.has_doors, self.is_moved = False, True

    def close(self) -> None:
        """Close the descriptors."""
        self._doors.close()
        if self.fd is not None:
            fd, self.fd = self.fd, None
            close(fd)
