# SPDX-License-Identifier: Apache-2.0
"""`pyrunc run`."""

from __future__ import annotations

import os

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.context import read_bundle
from libcontainer.pyrunc.launching import make_container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Make a container, run it, and take it away when it has ended, unless detached."""
    options = context.options
    if options["rootfs"]:
        from libcontainer.pyrunc.personal import spec_of

        if options["bundle"]:
            raise ContainerError("--rootfs is for running without --bundle")
        bundle = os.getcwd()
        spec = spec_of(options, context.words)
    else:
        if context.words:
            raise ContainerError(
                "a command is given with --rootfs; in a bundle it is process.args of config.json"
            )
        bundle = os.path.abspath(options["bundle"] or ".")
        spec = read_bundle(bundle)
    launched = make_container(context, spec, bundle)
    return launched.run()
