# SPDX-License-Identifier: Apache-2.0
"""`pyrunc pause`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """See `libcontainer.Container.pause`."""
    context.container().pause()
    return 0
