# SPDX-License-Identifier: Apache-2.0
"""What was denied to the processes of a run: `Result.denied`."""

from __future__ import annotations

import errno
from threading import Lock

from nsenter._host.printable import printable
from nsenter._host.records import Value

__all__ = ["MOST", "Denial", "Denials", "error_name"]

MOST = 1000  # different denials that are kept
REST = "..."


class Denial(Value):
    """System calls that failed in the same way: what they were, and how often they were made.

    What the calls were is known from the kernel. The paths, and the path of the program, are those
    that the code itself has chosen: they may contain any character.

    Args:
        call: the name of the system call, such as "unshare", or "syscall 470" if the name is not
            known. If there were more than 1,000 different denials, the last one is "...", and
            `count` says how many calls it stands for.
        error: the name of the error that the call failed with, such as "EPERM".
        path: the path that was given to the call, as it was given; None if it takes none, or if it
            could not be read.
        arguments: the arguments that are numbers and say what was asked for, such as the flags of
            unshare(2).
        program: the path of the program that made the call; "" if it could not be read.
        pid: the pid of the first process that made the call, as the code sees it; 0 if it is not
            known.
        count: how many times the call was made.
    """

    call: str
    error: str
    path: str | None = None
    arguments: tuple[int, ...] = ()
    program: str = ""
    pid: int = 0
    count: int = 1

    def __str__(self) -> str:
        words = [] if self.path is None else [repr(self.path)]
        words += [hex(argument) for argument in self.arguments]
        times = f", {self.count} times" if self.count != 1 else ""
        by = f" by {printable(self.program)}" if self.program else ""
        return f"{self.call}({', '.join(words)}): {self.error}{by}{times}"


class Denials:
    """The denials of a run: a thread adds them, another takes them. Their number is bounded."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._found: dict[tuple[object, ...], Denial] = {}
        self._rest = 0

    def add(self, denial: Denial) -> None:
        """Count a denial."""
        key = (denial.call, denial.error, denial.path, denial.arguments, denial.program)
        with self._lock:
            known = self._found.get(key)
            if known is not None:
                self._found[key] = known.replace(count=known.count + 1)
            elif len(self._found) < MOST:
                self._found[key] = denial
            else:
                self._rest += 1

    def all(self) -> tuple[Denial, ...]:
        """Return the denials, in the order in which each came first."""
        with self._lock:
            rest = (Denial(REST, "", count=self._rest),) if self._rest else ()
            return (*self._found.values(), *rest)


def error_name(number: int) -> str:
    """Return the name of an errno, such as "EPERM"."""
    return errno.errorcode.get(number, str(number))
