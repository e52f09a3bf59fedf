# SPDX-License-Identifier: Apache-2.0
"""`pyrunc events`."""

from __future__ import annotations

import threading
import time

from libcontainer import plainjson
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.container import Container
    from libcontainer.pyrunc.context import Context

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """ "500ms", "5s", "1m": as Go writes durations."""
    for unit, factor in _UNITS.items():
        number = text.removesuffix(unit)
        if number != text and number.replace(".", "", 1).isdecimal() and float(number) > 0:
            return float(number) * factor
    raise ContainerError(f"--interval {text!r}: expected a time such as 5s or 500ms")


def _print(kind: str, id: str, data: object = None) -> None:
    event = {"type": kind, "id": id, **({"data": data} if data is not None else {})}
    print(plainjson.dumps(event), flush=True)


def _tell_of_oom(container: Container) -> None:
    for _ in container.cgroup.oom_events():
        _print("oom", container.id)


def execute(context: Context) -> int:
    """Print what a container uses, once or until it has ended, and each kill for memory."""
    interval = seconds(context.options["interval"])
    container = context.container()
    if container.status() == "stopped":
        raise ContainerError(f"container with id {context.id} is not running")
    if context.options["stats"]:
        _print("stats", context.id, container.stats())
        return 0
    threading.Thread(target=_tell_of_oom, args=(container,), daemon=True).start()
    while container.status() != "stopped":
        _print("stats", context.id, container.stats())
        time.sleep(interval)
    return 0
