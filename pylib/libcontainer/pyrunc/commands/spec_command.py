# SPDX-License-Identifier: Apache-2.0
"""`pyrunc spec`."""

from __future__ import annotations

import os

from libcontainer.errors import ContainerError
from nsenter import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Write config.json; one that is there stays."""
    from libcontainer.cgroups.layout import is_unified
    from libcontainer.specconv.example import example

    path = os.path.join(context.options["bundle"], "config.json")
    # As runc, by whose file others know where a process is.
    spec = example(rootless=context.options["rootless"], cgroup_namespace=is_unified())
    document = plainjson.dumps(spec, indent=4)
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(f"{document}\n")
    except FileExistsError:
        raise ContainerError(f"File {path} exists. Remove it first") from None
    return 0
