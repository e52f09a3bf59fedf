"""What /proc tells of processes that may end at any moment, and waiting for what comes about.

A process that ends while it is looked at has no files any more (ENOENT), or they cannot be read
(ESRCH, EACCES). So a test never asks whether a file is there and then reads it: it asks here.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path

SECONDS = 20.0  # for anything that takes milliseconds
# For names in places that others have as well, such as cgroups or sockets without a file: another
# run in a PID namespace of its own has the same pids.
THIS_RUN = secrets.token_hex(4)

_GONE = (FileNotFoundError, ProcessLookupError)


def wait_until(
    condition: Callable[[], object],
    what: object = "it has not come about",
    seconds: float = SECONDS,
) -> None:
    """Look again and again until a condition holds.

    Args:
        what: is told if it does not hold in time, which is a guard against hanging alone.
    """
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def content(pid: int | str, name: str) -> bytes:
    """A file of a process below /proc; nothing if the process has ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except _GONE:
        return b""


def stat_fields(pid: int | str) -> list[str]:
    """The fields of /proc/PID/stat from the third on, the state; none if the process is gone."""
    return content(pid, "stat").rpartition(b")")[2].decode().split()


def runs(pid: int | str) -> bool:
    """Whether the process has not ended: it may be a zombie of its parent's for a while."""
    fields = stat_fields(pid)
    return bool(fields) and fields[0] not in ("Z", "X")


def name_of(pid: int | str) -> str:
    """The name of its program; "" if the process is gone."""
    return content(pid, "comm").decode(errors="replace").removesuffix("\n")


def words_of(pid: int | str) -> list[str]:
    """Its command line; none of a zombie, or before an execve(2) is done."""
    return content(pid, "cmdline").decode(errors="surrogateescape").split("\0")[:-1]


def threads_of(pid: int | str = "self") -> list[int]:
    """Their ids. One that was joined may be there a moment longer."""
    try:
        return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    except _GONE:
        return []


def children_of(pid: int | str = "self") -> set[int]:
    """The children of all its threads, zombies among them. One that ends may be there or not."""
    texts = (content(pid, f"task/{thread}/children") for thread in threads_of(pid))
    return {int(word) for text in texts for word in text.split()}


def links_of(pid: int | str = "self") -> dict[int, str]:
    """What its descriptors refer to, without any that was closed while they were listed."""
    found = {}
    try:
        entries = list(Path(f"/proc/{pid}/fd").iterdir())
        for entry in entries:
            with contextlib.suppress(*_GONE):
                found[int(entry.name)] = str(entry.readlink())
    except _GONE:
        return {}
    except PermissionError:
        # To an ordinary user also of a process of its own that is ending: its memory is gone then,
        # and its words with that.
        if words_of(pid):
            raise
        return {}
    return found


def all_pids() -> list[int]:
    """Those of all processes that /proc shows."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def wait_until_executed(pid: int, name: str = "") -> None:
    """Wait until a program that was started is there as a whole.

    execve(2) closes the descriptors by which its caller learns that nothing can fail any more some
    lines before it sets the name, the signals, the words and the environment of the process.

    Args:
        name: of the program. Without one, its words must be there, which come last. That requires
            that the execve(2) has begun, as it has when a launch has returned.
    """
    if name:
        wait_until(lambda: name_of(pid) == name, f"{name} is not executed")
    wait_until(lambda: words_of(pid), "the program is not executed")
