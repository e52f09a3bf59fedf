# SPDX-License-Identifier: Apache-2.0
"""Being told that the kernel has killed for memory in a cgroup."""

from __future__ import annotations

import os
import select

from libcontainer.cgroups.base import read, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LOOK_AGAIN_MS = 1000


def legacy_events(path: str) -> Iterator[None]:
    """Of cgroup v1: an eventfd on memory.oom_control (admin-guide/cgroup-v1/memory)."""
    event = os.eventfd(0, os.EFD_CLOEXEC)
    control = os.open(f"{path}/memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
    try:
        write(f"{path}/cgroup.event_control", f"{event} {control}")
        while os.eventfd_read(event) and os.path.exists(path):
            yield
    finally:
        os.close(event)
        os.close(control)


def _kills(path: str) -> int:
    words = read(f"{path}/memory.events").split()
    table = dict(zip(words[::2], words[1::2], strict=False))
    return int(table.get("oom_kill", 0))


def unified_events(path: str) -> Iterator[None]:
    """Of cgroup v2: memory.events is polled (admin-guide/cgroup-v2)."""
    fd = os.open(f"{path}/memory.events", os.O_RDONLY | os.O_CLOEXEC)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLPRI)
        seen = _kills(path)
        while os.path.exists(path):
            poller.poll(_LOOK_AGAIN_MS)
            now = _kills(path)
            if now > seen:
                seen = now
                yield
    finally:
        os.close(fd)
