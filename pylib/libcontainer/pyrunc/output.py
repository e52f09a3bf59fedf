# SPDX-License-Identifier: Apache-2.0
"""What a command prints to its standard output."""

from __future__ import annotations

import sys


class OutputClosed(Exception):
    """Nobody reads it any more. No other broken pipe is this one, and may be passed over."""


def show(text: str) -> None:
    """Print a line, or some."""
    try:
        print(text)
    except BrokenPipeError:
        raise OutputClosed from None


def flush() -> None:
    """Have it all printed."""
    if sys.stdout is None:  # it was closed when this process began
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
