# SPDX-License-Identifier: Apache-2.0
"""A thread that lasts as long as this process.

A parent-death signal (PR_SET_PDEATHSIG(2const)) comes when the *thread* ends that has started the
process, as one of a pool does long before the program. So what is to die with this process is
started by its first thread, or by one that does nothing else.
"""

from __future__ import annotations

import os
from _queue import SimpleQueue
from _thread import allocate_lock, get_native_id, start_new_thread

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    T = TypeVar("T")

__all__ = ["on_spawner_thread"]


class _Task:
    """One call, and what came of it."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._done = allocate_lock()
        self._done.acquire()
        self._result: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self._done.release()

    def result(self) -> Any:
        self._done.acquire()
        error, self._error = self._error, None
        if error is None:
            return self._result
        try:
            raise error
        finally:
            del error  # its traceback has this frame


class _SpawnerThread:
    """The thread; it starts when it is first needed, once more in a fork."""

    def __init__(self) -> None:
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        self._lock = allocate_lock()
        self._runs = False
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._tasks, self._lock, self._runs = SimpleQueue(), allocate_lock(), False

    def call(self, function: Callable[[], T]) -> T:
        task = _Task(function)
        with self._lock:
            if not self._runs:
                start_new_thread(self._work, ())
                self._runs = True
        self._tasks.put(task)
        result: T = task.result()
        return result

    def _work(self) -> None:
        while True:
            self._tasks.get().run()


_spawner = _SpawnerThread()


def on_spawner_thread(function: Callable[[], T]) -> T:
    """Call it on a thread that ends with the process only; returns and raises what it does."""
    if get_native_id() == os.getpid():
        return function()
    return _spawner.call(function)
