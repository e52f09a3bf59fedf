"""What tests of workspaces need to know of the machine."""

from __future__ import annotations

import os
import shutil


def fuse_overlays() -> tuple[str, ...]:
    """The backend of FUSE if it can be tried: if root starts the runs, they may not use it."""
    may_open = os.access("/dev/fuse", os.R_OK | os.W_OK)
    is_there = shutil.which("fuse-overlayfs") is not None
    return ("fuse-overlayfs",) if os.geteuid() and may_open and is_there else ()
