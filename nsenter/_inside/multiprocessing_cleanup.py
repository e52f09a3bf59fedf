# SPDX-License-Identifier: Apache-2.0
"""Removes what multiprocessing has made in a call: a directory in /tmp, shared memory, processes.

An interpreter removes these when it exits, but a worker is killed. To remove them can take long,
because processes are waited for, so the time is limited here.
"""

from __future__ import annotations

import _signal
import posix
import sys

from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SECONDS", "are_there", "forget", "remove"]

SECONDS = 3.0


def _module(name: str) -> Any:
    """Return a module of multiprocessing if it was imported, otherwise None."""
    return sys.modules.get(f"multiprocessing.{name}")


def _has_tracker() -> bool:
    tracker = getattr(_module("resource_tracker"), "_resource_tracker", None)
    return getattr(tracker, "_fd", None) is not None


def are_there() -> bool:
    """Return whether there is something to remove."""
    registry = getattr(_module("util"), "_finalizer_registry", None)
    children = getattr(_module("process"), "_children", None)
    return bool(registry or children or _has_tracker())


def forget() -> None:
    """Forget everything, in a fork: it belongs to the parent."""
    for module, name in (("util", "_finalizer_registry"), ("process", "_children")):
        held = getattr(_module(module), name, None)
        if held is not None:
            held.clear()


def remove() -> None:
    """Let multiprocessing remove it before this process ends. If that takes too long, exit."""
    if not are_there():
        return
    _signal.signal(_signal.SIGALRM, lambda *_: posix._exit(0))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGALRM})
    _signal.setitimer(_signal.ITIMER_REAL, SECONDS)
    for function in reversed(getattr(sys.modules.get("threading"), "_threading_atexits", ())):
        with suppress(Exception):  # the functions of executors, which wait for their processes
            function()
    with suppress(Exception):
        _module("util")._exit_function()
    if _has_tracker():  # the tracker removes what is registered when its pipe is closed
        with suppress(Exception):
            _module("resource_tracker")._resource_tracker._stop()
