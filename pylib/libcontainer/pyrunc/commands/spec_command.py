# SPDX-License-Identifier: Apache-2.0
"""`pyrunc spec`."""

from __future__ import annotations

import os

from libcontainer import plainjson
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Write config.json; one that is there stays."""
    from libcontainer.specconv.example import example

    path = os.path.join(context.options["bundle"] or "", "config.json")
    document = plainjson.dumps(example(rootless=context.options["rootless"]), indent=4)
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise ContainerError(f"file {path} exists. Remove it first") from None
    try:
        os.write(fd, f"{document}\n".encode())
    finally:
        os.close(fd)
    return 0
