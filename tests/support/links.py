"""What descriptors of this process refer to, as /proc/self/fd tells; and its children."""

from __future__ import annotations

from pathlib import Path

# Made once, and open as long as the process (nsenter/_interpreter/sealed_memory.py).
KEPT = ("/memfd:nsenter-bundle", "/memfd:nsinit", "/dev/shm/nsenter-", "/tmp/nsenter-")


def descriptors() -> int:
    """How many there are, without those that are kept."""
    links = []
    for fd in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(fd.readlink()))
        except FileNotFoundError:
            continue
    return sum(not link.startswith(KEPT) for link in links)


def children() -> set[str]:
    """Their pids."""
    pids: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            pids.update((task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended meanwhile
            continue
    return pids
