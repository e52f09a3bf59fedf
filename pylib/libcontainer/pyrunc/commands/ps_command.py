# SPDX-License-Identifier: Apache-2.0
"""`pyrunc ps`."""

from __future__ import annotations

import subprocess

from libcontainer import plainjson
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Print ps(1)'s lines of a container's processes, or their pids as JSON."""
    format = context.options["format"]
    if format not in ("table", "json"):
        raise ContainerError(f"invalid format {format!r}: table or json")
    pids = context.container().processes()
    if format == "json":
        print(plainjson.dumps(pids))
        return 0
    words = context.words or ["-ef"]
    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise ContainerError("ps is not installed; use --format json") from None
    if done.returncode:
        raise ContainerError(f"ps {' '.join(words)}: {done.stderr.strip()}")
    print(_filtered(done.stdout, set(pids)))
    return 0


def _filtered(output: str, pids: set[int]) -> str:
    title, *lines = output.splitlines()
    columns = title.split()
    if "PID" not in columns:
        raise ContainerError("ps does not print a column PID with these options")
    at = columns.index("PID")
    return "\n".join([title, *(line for line in lines if int(line.split()[at]) in pids)])
