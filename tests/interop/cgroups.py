# SPDX-License-Identifier: Apache-2.0
"""The machine's layout of control groups, and those that containers make."""

from __future__ import annotations

import os
import time
from pathlib import Path

from interop import orphans

_ROOT = Path("/sys/fs/cgroup")
_SECONDS = 30.0  # for what takes milliseconds
UNIFIED_BESIDE = _ROOT / "unified" / "cgroup.controllers"  # v1 and v2 at once: hybrid
IS_V2 = (_ROOT / "cgroup.controllers").exists()

# Files of a container's limits, as it sees them.
PIDS = _ROOT / ("pids.max" if IS_V2 else "pids/pids.max")
MEMORY = _ROOT / ("memory.max" if IS_V2 else "memory/memory.limit_in_bytes")
QUOTA = _ROOT / ("cpu.max" if IS_V2 else "cpu/cpu.cfs_quota_us")


def of(name: str) -> list[Path]:
    """The groups whose path has `name`, in all hierarchies; inner ones first."""
    # Others make and remove theirs meanwhile, which Path.glob() does not bear.
    found = [Path(folder) for folder, _, _ in os.walk(_ROOT, topdown=False) if name in folder]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)


def remove(name: str) -> None:
    """Remove groups that only led to others, when their last process has been reaped."""
    deadline = time.monotonic() + _SECONDS
    for folder in of(name):
        while folder.exists():
            try:
                folder.rmdir()
            except OSError:
                orphans.reap()
                assert time.monotonic() < deadline, f"{folder} is in use"
                time.sleep(0.01)
