# SPDX-License-Identifier: Apache-2.0
"""`pyrunc list`."""

from __future__ import annotations

import os

from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.pyrunc.commands.state_command import told
from libcontainer.pyrunc.output import show
from libcontainer.record import list_containers
from libcontainer.runc_messages import message
from nsenter._host import json_text
from nsenter._host.printable import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.pyrunc.context import Context

_COLUMNS = ("id", "pid", "status", "bundle", "created", "owner")
_WIDTH, _GAP = 12, 3


def execute(context: Context) -> int:
    """List the containers in the state directory.

    A container whose state cannot be read is logged and left out.
    """
    form = context.options["format"]
    if form not in ("table", "json"):
        raise ContainerError("invalid format option: expected table or json")
    found = (_entry(context, id) for id in list_containers(context.root))
    entries = [entry for entry in found if entry]
    if context.options["quiet"]:
        for entry in entries:
            show(entry["id"])
    else:
        show(json_text.dumps(entries) if form == "json" else _table(entries))
    return 0


def _entry(context: Context, id: str) -> dict[str, Any] | None:
    """Return what is listed of a container; None if it does not exist (any more)."""
    folder = f"{context.root}/{id}"
    try:
        owner = _name(os.lstat(folder).st_uid)
        return told(Container.load(context.root, id), owner)
    except (ContainerError, OSError) as error:
        if os.path.lexists(folder):
            context.log.warning(f"load container {id}: {message(error)}")
        return None


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _table(entries: list[dict[str, Any]]) -> str:
    """Return the table in runc's form: columns of twelve characters or more, three blanks apart."""
    rows = [[name.upper() for name in _COLUMNS]]
    rows += [[printable(str(entry[name])) for name in _COLUMNS] for entry in entries]
    widths = [max(_WIDTH, _GAP + max(map(len, column))) for column in zip(*rows, strict=True)]
    lines = ("".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
