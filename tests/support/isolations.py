"""How the tests of Popen, run and asyncio isolate what they start: once for each way of a start."""

from __future__ import annotations

import os

import pytest

from nsenter.options import Options

# The status of a process that another has waited for is kept with its pidfd since Linux 6.15.
KEEPS_STATUS = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)

_OWN_USER = () if os.geteuid() == 0 else ("user",)

# Not isolated, and so no PID 1, which signals without a handler do nothing to.
PLAIN = Options()
# What the spawned child is cloned into.
DIRECT = Options(new=(*_OWN_USER, "pid", "mnt", "ipc"))
# What takes nsinit and its stages: a map that is written from outside.
STAGES = Options(new=("user", "pid", "mnt", "uts"), cwd="/")
ALL = Options(new="all")

each_way = pytest.mark.parametrize(
    "options", [PLAIN, DIRECT, STAGES], ids=["plain", "direct", "stages"]
)
