"""What an init that waits is told to do (tests/test_nsenter/test_prebooted.py)."""

from __future__ import annotations

import posix


def look(channel: int, *numbers: int) -> int:
    """The target: tell what is there, and what the descriptors are; the status is a number's."""
    fds = sorted(map(int, posix.listdir("/proc/self/fd")))[:-1]
    told = [posix.read(fd, 10) for fd in numbers]
    said = (posix.getpid(), posix.uname().nodename, fds, told)
    posix.write(channel, repr(said).encode())
    return 7
