# SPDX-License-Identifier: Apache-2.0
"""`pyrunc delete`."""

from __future__ import annotations

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.launching import discard, remove_extras
from libcontainer.state import StateFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Take a container away; with --force whatever it is doing, and be it half made."""
    if context.options["force"]:
        _delete_anything(context)
        return 0
    container = context.container()
    status = container.status()
    if status == "created":
        # Nothing of the user's has run yet (runtime.md has it deletable only when stopped;
        # runc takes it away as well).
        discard(container)
    elif status in ("running", "paused"):
        raise ContainerError(f"cannot delete container {context.id} that is not stopped: {status}")
    else:
        remove_extras(container)
        container.destroy()
    return 0


def _delete_anything(context: Context) -> None:
    folder = StateFolder(context.root, context.id)
    if not folder.exists():
        return
    if not _remove_half_made(folder):
        discard(context.container())


def _remove_half_made(folder: StateFolder) -> bool:
    """Whether its runtime was killed before it had a state, and it is gone now."""
    # Whoever makes it right now has the lock.
    folder.lock()
    try:
        half_made = folder.load() is None
        if half_made:
            folder.remove()
    finally:
        folder.unlock()
    return half_made
