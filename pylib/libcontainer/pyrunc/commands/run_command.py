# SPDX-License-Identifier: Apache-2.0
"""`pyrunc run`."""

from __future__ import annotations

import os

from libcontainer.pyrunc.launching import launch_new
from libcontainer.pyrunc.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Create a container, run it, and delete it after it has ended, unless it is detached."""
    options = context.options
    if options["rootfs"]:
        from libcontainer.pyrunc.without_bundle import spec_of

        if options["bundle"]:
            raise UsageError("--rootfs and --bundle cannot be used together", "run")
        return launch_new(context, spec_of(options, context.id, context.words), "", begin=True)
    if context.words:
        # A command is for --rootfs; in a bundle it is process.args of config.json.
        raise UsageError('pyrunc: "run" requires exactly 1 argument(s)', "run")
    bundle = os.path.abspath(options["bundle"])
    return launch_new(context, context.read_bundle(bundle), bundle, begin=True)
