# SPDX-License-Identifier: Apache-2.0
"""`pyrunc delete`."""

from __future__ import annotations

from libcontainer.delete_unreadable import take_away
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.state_folder import StateFolder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Delete a container; with --force also one that runs or is incomplete."""
    if context.options["force"]:
        _delete_anything(context)
        return 0
    container = context.container()
    status = container.status()
    if status == "created":
        # Nothing of the user's has run yet (runtime.md has it deletable only when stopped;
        # runc takes it away as well).
        container.kill_and_destroy()
    elif status in ("creating", "running", "paused"):
        raise ContainerError(f"cannot delete container {context.id} that is not stopped: {status}")
    else:
        container.destroy()
    return 0


def _delete_anything(context: Context) -> None:
    folder = StateFolder(context.root, context.id)
    try:
        container: Container | None = context.container()
    except ContainerNotFoundError:
        return
    except ContainerError:
        container = _take_away_broken(folder, context)
    if container:
        container.kill_and_destroy()


def _take_away_broken(folder: StateFolder, context: Context) -> Container | None:
    """Delete a container whose state cannot be read.

    Returns:
        The container, if another process was just creating it and its state can be read by now.
            None
        if it is deleted.
    """
    try:
        holder = folder.lock(by_force=True)
    except ContainerNotFoundError:
        return None
    try:
        if holder:
            context.log.warning(
                f"container {context.id!r} is deleted although {holder} is changing it"
            )
        return context.container()
    except ContainerNotFoundError:
        return None
    except ContainerError:
        take_away(folder, context.log.warning)
        return None
    finally:
        folder.unlock()
