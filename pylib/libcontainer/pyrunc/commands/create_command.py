# SPDX-License-Identifier: Apache-2.0
"""`pyrunc create`."""

from __future__ import annotations

import os

from libcontainer.pyrunc.launching import launch_new

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Create a container and its init, which waits for `start`."""
    bundle = os.path.abspath(context.options["bundle"])
    return launch_new(context, context.read_bundle(bundle), bundle, begin=False)
