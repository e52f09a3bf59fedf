# SPDX-License-Identifier: Apache-2.0
"""What crun's tests use of libmount's Python module, which Debian does not have."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class Mount(NamedTuple):
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    vfs_options: str
    fs_options: str


class Table:
    """The mounts in a file."""

    def __init__(self, path: str) -> None:
        self._lines = [line.split(" ") for line in Path(path).read_text().splitlines()]

    def find_target(self, target: str) -> Mount:
        """The last that is mounted there."""
        fields = next(fields for fields in reversed(self._lines) if fields[4] == target)
        return Mount(fields[5], fields[-1])
