# SPDX-License-Identifier: Apache-2.0
"""Print to the standard output of a command."""

from __future__ import annotations

import sys


class OutputClosed(Exception):
    """No process reads standard output any more.

    This is a class of its own because other broken pipes must not be ignored.
    """


def show(text: str) -> None:
    """Print a text and a newline."""
    try:
        print(text)
    except BrokenPipeError:
        raise OutputClosed from None


def flush() -> None:
    """Write all that was printed."""
    if sys.stdout is None:  # it was closed when this process began
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosed from None
