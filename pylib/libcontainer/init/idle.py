# SPDX-License-Identifier: Apache-2.0
"""A process that is only there for the namespaces that it is in."""

from __future__ import annotations

import posix


def main(channel: int) -> None:
    """Wait until the other end of the channel is closed."""
    posix.read(channel, 1)
