# SPDX-License-Identifier: Apache-2.0
"""The lock that a command holds on a container while it changes it: flock(2) on a directory.

No command waits for the lock without a limit: its holder may be stopped, or wait for a hook that
hangs.
"""

from __future__ import annotations

import os
import time
from errno import EAGAIN

from nsenter._host import procfs
from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import LOCK_EX, LOCK_NB, Failure, flock

__all__ = ["holder_of", "is_free", "let_go", "try_for"]

_LOCK_UN = 8
_LONGEST_COMMAND = 4096
_FIRST_NAP, _LONGEST_NAP = 0.0005, 0.02


def is_free(fd: int) -> bool:
    """Take the lock if no process holds it; return whether it was taken."""
    try:
        flock(fd, LOCK_EX | LOCK_NB)
    except Failure as failure:
        if failure.errno != EAGAIN:
            raise
        return False
    return True


def try_for(fd: int, seconds: float) -> bool:
    """Take the lock, and wait at most so many seconds for it; return whether it was taken."""
    deadline = time.monotonic() + seconds
    nap = _FIRST_NAP
    while not is_free(fd):
        if time.monotonic() >= deadline:
            return False
        time.sleep(nap)
        nap = min(nap * 2, _LONGEST_NAP)
    return True


def let_go(fd: int) -> None:
    """Release the lock and close the file.

    The lock is released explicitly because errors of close(2) are ignored.
    """
    with suppress(OSError):
        flock(fd, _LOCK_UN)
    close(fd)


def holder_of(fd: int) -> str:
    """Describe the process that holds the lock on an open file: its pid and its command."""
    pid = _holders_pid(os.fstat(fd))
    if not pid:
        return "a process that cannot be seen from here"
    command = _command_of(pid)
    return f"process {pid} ({command})" if command else f"process {pid}"


def _holders_pid(status: os.stat_result) -> int:
    """Return the pid in a line of proc_locks(5).

    Such a line is "1: FLOCK  ADVISORY  WRITE 1234 00:1f:5678 0 EOF".
    """
    place = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        lines = procfs.read("/proc/locks").decode().splitlines()
    except OSError:
        return 0
    for words in map(str.split, lines):
        # A line of who waits has "->" behind the number.
        if len(words) > 5 and words[1] == "FLOCK" and words[5] == place and words[4].isdecimal():
            return int(words[4])
    return 0


def _command_of(pid: int) -> str:
    try:
        words = procfs.read(f"/proc/{pid}/cmdline")[:_LONGEST_COMMAND].rstrip(b"\0").split(b"\0")
    except OSError:
        return ""
    text = " ".join(os.fsdecode(word) for word in words)
    return "".join(c if c.isprintable() else "?" for c in text)
