# SPDX-License-Identifier: Apache-2.0
"""The watch over a run in the loop of asyncio: no thread waits."""

from __future__ import annotations

import asyncio
import select
import time
from threading import Lock

from nsenter._host.cleanup import undo
from nsenter._launch.child import Child
from nsenter._sandbox.watch import Streams, Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["start_in_thread", "watch_in_loop"]


async def start_in_thread(start: Callable[[], Child], streams: Streams) -> Child:
    """Start a process in a thread of the loop's executor: a start takes a millisecond or more.

    If this fails, the streams are closed. If the task is cancelled meanwhile, the process is killed
    and the streams are closed as soon as it has started.
    """
    job = _Start(start, streams)
    try:
        return await asyncio.get_running_loop().run_in_executor(None, job)
    except BaseException as error:
        undo(error, job.abandon)
        raise


class _Start:
    """A start in a thread, which cannot be interrupted. It uses the streams until it is done."""

    def __init__(self, start: Callable[[], Child], streams: Streams) -> None:
        self._start = start
        self._streams = streams
        self._lock = Lock()
        self._runs = self._is_abandoned = False
        self._child: Child | None = None

    def __call__(self) -> Child:
        with self._lock:
            if self._is_abandoned:
                raise asyncio.CancelledError
            self._runs = True
        try:
            self._child = self._start()
            return self._child
        finally:
            with self._lock:
                self._runs = False
                if self._is_abandoned:
                    self._discard()

    def abandon(self) -> None:
        """Let nothing be left, now or when the start is done. It may never have begun."""
        with self._lock:
            self._is_abandoned = True
            if not self._runs:
                self._discard()

    def _discard(self) -> None:
        self._streams.close()
        if self._child is not None:
            self._child.__exit__()


async def watch_in_loop(watch: Watch) -> None:
    """Wait until the process has ended and its output is read.

    If the task is cancelled, everything in the sandbox is killed first.
    """
    driver = _Driver(watch)
    try:
        driver.refresh()
        await driver.done
    except BaseException as error:
        undo(error, driver.stop, watch.kill)
        raise


class _Driver:
    """Tells a `Watch` which of its descriptors are ready."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._loop = asyncio.get_running_loop()
        self._registered: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.done: asyncio.Future[None] = self._loop.create_future()

    def refresh(self) -> None:
        """Register what the watch waits for now."""
        wanted = self._watch.descriptors()
        for fd in [*self._registered]:
            if fd not in wanted:
                self._remove(fd)
        for fd, (events, handle) in wanted.items():
            add = self._loop.add_writer if events == select.POLLOUT else self._loop.add_reader
            add(fd, self._call, handle)
            self._registered[fd] = events
        self._set_timer()
        if not wanted:
            self.stop()
            if not self.done.done():
                self.done.set_result(None)

    def _remove(self, fd: int) -> None:
        is_writer = self._registered.pop(fd) == select.POLLOUT
        (self._loop.remove_writer if is_writer else self._loop.remove_reader)(fd)

    def _call(self, handle: Callable[[], object]) -> None:
        try:
            handle()
            self.refresh()
        except Exception as error:
            self.stop()
            if not self.done.done():
                self.done.set_exception(error)

    def _set_timer(self) -> None:
        deadline = self._watch.deadline
        if deadline is not None and self._timer is None and self._watch.cause is None:
            left = max(0.0, deadline - time.monotonic())
            self._timer = self._loop.call_later(left, self._call, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self._watch.check_time()

    def stop(self) -> None:
        """Wait for nothing any more."""
        for fd in [*self._registered]:
            self._remove(fd)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
