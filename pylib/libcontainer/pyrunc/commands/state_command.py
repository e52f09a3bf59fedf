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
    """Return OCI's state document, with the keys that runc adds.

    Args:
        container: the container.
        owner: the name of the user who created it, which `list` shows and `state` does not.
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
    """Print the state document."""
    show(json_text.dumps(told(context.container()), indent=2))
    return 0
