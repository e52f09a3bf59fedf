# SPDX-License-Identifier: Apache-2.0
"""`pyrunc start`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Let a created container execute its program."""
    context.container().exec()
    return 0
