"""What descriptors of this process refer to, as /proc/self/fd tells; and its children."""

from __future__ import annotations

from processes import children_of, links_of

# Made once, and open as long as the process (nsenter/_interpreter/sealed_memory.py).
KEPT = ("/memfd:nsenter-archive", "/memfd:nsinit", "/dev/shm/nsenter-", "/tmp/nsenter-")


def descriptors() -> int:
    """How many there are, without those that are kept."""
    return sum(not link.startswith(KEPT) for link in links_of().values())


def children() -> set[str]:
    """Their pids."""
    return set(map(str, children_of()))
