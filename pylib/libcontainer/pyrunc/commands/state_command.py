# SPDX-License-Identifier: Apache-2.0
"""`pyrunc state`."""

from __future__ import annotations

from libcontainer import plainjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Print OCI's state, with what runc adds to it."""
    container = context.container()
    state = container.oci_state()
    told = {
        "ociVersion": state["ociVersion"],
        "id": state["id"],
        "pid": state.get("pid", 0),
        "status": state["status"],
        "bundle": state["bundle"],
        "rootfs": container.config.rootfs,
        "created": container.state().created,
        **({"annotations": state["annotations"]} if "annotations" in state else {}),
        "owner": "",
    }
    print(plainjson.dumps(told, indent=2))
    return 0
