# SPDX-License-Identifier: Apache-2.0
"""What runs inside: functions that do nothing."""

from __future__ import annotations


def main(channel: int) -> int:
    """An init whose first line is its last."""
    return 0


def waiting(channel: int) -> int:
    """An init that is there until its parent lets go of it."""
    import os

    os.read(channel, 1)
    return 0


def nothing() -> None:
    """For a call."""
