# SPDX-License-Identifier: Apache-2.0
"""`pyrunc resume`."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """See `libcontainer.Container.resume`."""
    context.container().resume()
    return 0
