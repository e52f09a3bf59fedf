# SPDX-License-Identifier: Apache-2.0
"""`pyrunc ps`."""

from __future__ import annotations

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.output import show
from nsenter._host import json_text
from nsenter._host.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Print the lines of ps(1) for the processes of a container, or their pids as JSON."""
    pids = context.container().processes()
    form = context.options["format"]
    if form == "json":
        show(json_text.dumps(pids))
    elif form == "table":
        show(_filtered(_ps(context.words or ["-ef"]), set(map(str, pids))))
    else:
        raise ContainerError("invalid format option: expected table or json")
    return 0


def _ps(words: list[str]) -> str:
    import subprocess

    try:
        done = subprocess.run(["ps", *words], capture_output=True, text=True)
    except FileNotFoundError:
        raise ContainerError("ps is not installed; use --format json") from None
    if done.returncode:
        raise ContainerError(f"ps {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _filtered(output: str, pids: set[str]) -> str:
    title, *lines = (printable(line, keep="\t") for line in output.removesuffix("\n").split("\n"))
    columns = title.split()
    if "PID" not in columns:
        raise ContainerError("couldn't find PID field in ps output")
    at = columns.index("PID")
    return "\n".join([title, *(line for line in lines if pids & set(line.split()[at : at + 1]))])
