# SPDX-License-Identifier: Apache-2.0
"""What multiprocessing has left when a process of calls ends: a folder in /tmp, shared memory,
processes. A process that is killed would leave them for good.

A worker of a ProcessPoolExecutor, and an interpreter, tidy up when they end. It may take long, as
processes are waited for, and it is bounded here.
"""

from __future__ import annotations

import _signal
import posix
import sys

from nsenter.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["SECONDS", "are_there", "forget", "remove"]

SECONDS = 3.0


def _module(name: str) -> Any:
    """One of multiprocessing's modules, if it was imported."""
    return sys.modules.get(f"multiprocessing.{name}")


def _has_tracker() -> bool:
    tracker = getattr(_module("resource_tracker"), "_resource_tracker", None)
    return getattr(tracker, "_fd", None) is not None


def are_there() -> bool:
    """Whether there is something to remove."""
    registry = getattr(_module("util"), "_finalizer_registry", None)
    children = getattr(_module("process"), "_children", None)
    return bool(registry or children or _has_tracker())


def forget() -> None:
    """In a fork: what is there is the parent's."""
    for module, name in (("util", "_finalizer_registry"), ("process", "_children")):
        held = getattr(_module(module), name, None)
        if held is not None:
            held.clear()


def remove() -> None:
    """Have multiprocessing tidy up, before this process ends; it ends if that takes too long."""
    if not are_there():
        return
    _signal.signal(_signal.SIGALRM, lambda *_: posix._exit(0))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, {_signal.SIGALRM})
    _signal.setitimer(_signal.ITIMER_REAL, SECONDS)
    for function in reversed(getattr(sys.modules.get("threading"), "_threading_atexits", ())):
        with suppress(Exception):  # those of executors, whose processes are waited for then
            function()
    with suppress(Exception):
        _module("util")._exit_function()
    if _has_tracker():  # it removes what is registered when nobody holds its pipe any more
        with suppress(Exception):
            _module("resource_tracker")._resource_tracker._stop()
