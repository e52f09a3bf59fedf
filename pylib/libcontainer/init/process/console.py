# SPDX-License-Identifier: Apache-2.0
"""The pseudo-terminal of a container: made of its own devpts, its master sent to the caller."""

from __future__ import annotations

import errno
import posix
import sys

from nsenter._host.syscalls import (
    AT_FDCWD,
    RESOLVE_NO_MAGICLINKS,
    Failure,
    file_system_type,
    ioctl,
    openat2,
    send_fds,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import ProcessConfig

_DEVPTS_SUPER_MAGIC = 0x1CD1
_PTMX = "/dev/pts/ptmx"
_TIOCSPTLCK = 0x40045431
_TIOCGPTN = 0x80045430
_TIOCGPTPEER = 0x5441
_TIOCSWINSZ = 0x5414
_TIOCSCTTY = 0x540E


class Console:
    """A new pseudo-terminal.

    Attributes:
        slave: descriptor of the process's end.
        path: of the slave, in the container.
    """

    def __init__(self, process: ProcessConfig) -> None:
        flags = posix.O_RDWR | posix.O_NOCTTY
        self._master = openat2(AT_FDCWD, _PTMX, flags, resolve=RESOLVE_NO_MAGICLINKS)
        # The path is the container's: what is there need not be a terminal's file system.
        if file_system_type(self._master) != _DEVPTS_SUPER_MAGIC:
            raise Failure("open", _PTMX, errno.ENOTTY, "it is not on a devpts: mount one there")
        ioctl(self._master, "TIOCSPTLCK", _TIOCSPTLCK, bytearray(4))
        number = bytearray(4)
        ioctl(self._master, "TIOCGPTN", _TIOCGPTN, number)
        self.path = f"/dev/pts/{int.from_bytes(number, sys.byteorder)}"
        self.slave = ioctl(self._master, "TIOCGPTPEER", _TIOCGPTPEER, flags | posix.O_CLOEXEC)
        if process.console_height or process.console_width:
            self._resize(process.console_height, process.console_width)

    def _resize(self, height: int, width: int) -> None:
        sizes = (height, width, 0, 0)
        window = b"".join(size.to_bytes(2, sys.byteorder) for size in sizes)
        ioctl(self._master, "TIOCSWINSZ", _TIOCSWINSZ, window)

    def hand_over(self, socket: int) -> None:
        """Send the master to whoever is at the console socket, and have none of it here."""
        send_fds(socket, _PTMX.encode(), (self._master,))
        posix.close(self._master)
        posix.close(socket)

    def become_streams(self) -> None:
        """Make it the controlling terminal and descriptors 0, 1 and 2."""
        ioctl(self.slave, "TIOCSCTTY", _TIOCSCTTY, 0)
        for stream in range(3):
            posix.dup2(self.slave, stream)
        posix.close(self.slave)
