# SPDX-License-Identifier: Apache-2.0
"""`pyrunc events`."""

from __future__ import annotations

import threading
import time

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.output import flush, show
from libcontainer.runc_messages import message
from nsenter._host import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context


def execute(context: Context) -> int:
    """Print the resource usage of a container, and each kill because memory ran out.

    It is printed once, or repeatedly until the container has ended.
    """
    interval = context.options["interval"]
    if interval <= 0:
        raise ContainerError("duration interval must be greater than 0")
    container = context.container()
    if container.status() == "stopped":
        raise ContainerError(f"container with id {context.id} is not running")
    if context.options["stats"]:
        _print("stats", context.id, container.stats())
        return 0
    threading.Thread(target=_tell_of_oom, args=(context, container), daemon=True).start()
    while _tell_of_use(container):
        time.sleep(interval)
    return 0


def _print(kind: str, id: str, data: object = None) -> None:
    event = {"type": kind, "id": id, **({"data": data} if data is not None else {})}
    show(json_text.dumps(event))
    flush()


def _tell_of_oom(context: Context, container: Container) -> None:
    try:
        for _ in container.cgroup.oom_events():
            _print("oom", container.id)
    except OSError as error:
        if container.status() != "stopped":
            context.log.warning(f"out-of-memory events cannot be watched: {message(error)}")


def _tell_of_use(container: Container) -> bool:
    """Print the usage; return whether the container still runs."""
    try:
        stats = container.stats()
    except OSError:
        if container.status() == "stopped":  # its cgroup is gone
            return False
        raise
    _print("stats", container.id, stats)
    return container.status() != "stopped"
