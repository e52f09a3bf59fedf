# SPDX-License-Identifier: Apache-2.0
"""`pyrunc spec`."""

from __future__ import annotations

import os

from libcontainer.errors import ContainerError
from libcontainer.output_files import make_file
from nsenter._host import json_text
from nsenter._host.procfs import is_mapped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Write config.json; refuse to overwrite an existing file."""
    from libcontainer.specconv.example import TTY_GROUP, example
    from nsenter._cgroups.layout import is_unified

    path = os.path.join(context.options["bundle"], "config.json")
    spec = example(
        rootless=context.options["rootless"],
        cgroup_namespace=is_unified(),  # as runc: on cgroup v1, others look up a process's cgroup
        tty_group=is_mapped("gid", TTY_GROUP),
    )
    document = json_text.dumps(spec, indent=4)
    try:
        make_file(path, f"{document}\n".encode())
    except FileExistsError:
        raise ContainerError(f"File {path} exists. Remove it first") from None
    return 0
