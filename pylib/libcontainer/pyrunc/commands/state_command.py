# SPDX-License-Identifier: Apache-2.0
"""`pyrunc state`."""

from __future__ import annotations

from libcontainer.pyrunc.output import show
from nsenter._host import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context


def told(container: Container, owner: str = "") -> dict[str, Any]:
    """OCI's state, with what runc adds to it.

    Args:
        owner: who has made it; `list` says so, `state` does not.
    """
    state = container.oci_state()
    return {
        "ociVersion": state["ociVersion"],
        "id": state["id"],
        "pid": state.get("pid", 0),
        "status": state["status"],
        "bundle": state["bundle"],
        "rootfs": container.config.rootfs,
        "created": container.state().created,
        **({"annotations": state["annotations"]} if "annotations" in state else {}),
        "owner": owner,
    }


def execute(context: Context) -> int:
    """Print it."""
    show(json_text.dumps(told(context.container()), indent=2))
    return 0
