# SPDX-License-Identifier: Apache-2.0
"""`pyrunc delete`."""

from __future__ import annotations

from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.state import StateFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Take a container away; with --force whatever it is doing, and be it half made."""
    if not context.options["force"]:
        container = context.container()
        status = container.status()
        if status == "created":
            # Nothing of the user's has run yet (runtime.md has it deletable only when stopped;
            # runc takes it away as well).
            container.kill_and_destroy()
        elif status in ("running", "paused"):
            raise ContainerError(
                f"cannot delete container {context.id} that is not stopped: {status}"
            )
        else:
            container.destroy()
        return 0
    folder = StateFolder(context.root, context.id)
    if not folder.exists():
        return 0
    if folder.load() is None:  # its runtime was killed before it had a state
        folder.remove()
        return 0
    Container.load(context.root, context.id).kill_and_destroy()
    return 0
