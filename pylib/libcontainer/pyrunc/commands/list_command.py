# SPDX-License-Identifier: Apache-2.0
"""`pyrunc list`."""

from __future__ import annotations

import os

from libcontainer import plainjson
from libcontainer.container import Container, list_containers
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.pyrunc.context import Context

_COLUMNS = {
    "ID": "id", "PID": "pid", "STATUS": "status", "BUNDLE": "bundle", "CREATED": "created",
    "OWNER": "owner",
}  # fmt: skip
_WIDTH, _GAP = 12, 3


def _entry(root: str, id: str) -> dict[str, Any]:
    owner = os.lstat(f"{root}/{id}").st_uid
    entry: dict[str, Any] = {
        "ociVersion": "", "id": id, "pid": 0, "status": "stopped", "bundle": "", "rootfs": "",
        "created": "", "owner": _name(owner),
    }  # fmt: skip
    try:
        container = Container.load(root, id)
    except ContainerError:  # half made
        return entry
    entry |= {name: value for name, value in container.oci_state().items() if name in entry}
    return entry | {"rootfs": container.config.rootfs, "created": container.state().created}


def _name(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _table(entries: list[dict[str, Any]]) -> str:
    rows = [list(_COLUMNS), *([str(e[key]) for key in _COLUMNS.values()] for e in entries)]
    widths = [max(_WIDTH, _GAP + max(len(row[i]) for row in rows)) for i in range(len(_COLUMNS))]
    lines = ("".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def execute(context: Context) -> int:
    """List the containers below the root."""
    format = context.options["format"]
    ids = list_containers(context.root)
    if context.options["quiet"]:
        print("".join(f"{id}\n" for id in ids), end="")
        return 0
    if format not in ("table", "json"):
        raise ContainerError(f"invalid format {format!r}: table or json")
    entries = [_entry(context.root, id) for id in ids]
    print(plainjson.dumps(entries) if format == "json" else _table(entries))
    return 0
