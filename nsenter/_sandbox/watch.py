# SPDX-License-Identifier: Apache-2.0
"""The watch over one run: its input and output, its limits, and its end.

A `Watch` says which descriptors it waits for, and is told which are ready. It is driven by poll(2)
here, and by the loop of asyncio in `nsenter._sandbox.asynchronous`; neither takes a thread.
"""

from __future__ import annotations

import os
import select
import time
from functools import partial

from nsenter._host.cleanup import close, undo
from nsenter._host.records import Value
from nsenter._sandbox.result import Verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nsenter._cgroups.oom import OomWatch
    from nsenter._launch.child import Child
    from nsenter._sandbox.explain import Explanation
    from nsenter.launch import Environment
    from nsenter.mounts import Path

__all__ = ["Order", "Streams", "Watch"]

_CHUNK = 1 << 16
_LONGEST_POLL = 86400.0  # seconds; poll(2) takes an int of milliseconds
_OUT, _ERR = 1, 2


class Order(Value):
    """What a run is to do, checked.

    Args:
        args: the program and its arguments.
        data: what it reads from its standard input.
        timeout: after how many seconds everything is killed; None means never.
        output_limit: how many bytes it may write to its output and its errors together.
        env: its environment; None means that of the sandbox.
        cwd: its working directory; None means that of the options.
        on_output: is called with 1 or 2 and each piece that it writes there.
        explanation: what notes what is denied to it; None if nobody does.
    """

    args: tuple[Any, ...]
    data: bytes
    timeout: float | None
    output_limit: int
    env: Environment | None
    cwd: Path | None
    on_output: Callable[[int, bytes], object] | None
    explanation: Explanation | None = None


class Streams:
    """The pipes of a run: both ends of each until `hand_over`, then this process's ends alone."""

    def __init__(self) -> None:
        self.ours: dict[int, int] = {}
        self.theirs: dict[int, int] = {}
        try:
            for number in (0, _OUT, _ERR):
                self._pipe(number)
        except BaseException as error:
            undo(error, self.close)
            raise

    def _pipe(self, number: int) -> None:
        reader, writer = os.pipe()
        self.ours[number], self.theirs[number] = (
            (writer, reader) if number == 0 else (reader, writer)
        )
        os.set_blocking(self.ours[number], False)

    def hand_over(self) -> None:
        """Close the ends of the process, which has its own copies."""
        while self.theirs:
            close(self.theirs.popitem()[1])

    def close_end(self, number: int) -> None:
        """Close this process's end of a stream."""
        if number in self.ours:
            close(self.ours.pop(number))

    def close(self) -> None:
        """Close everything."""
        self.hand_over()
        while self.ours:
            close(self.ours.popitem()[1])


class Watch:
    """The watch over a process that runs already.

    Args:
        child: the process. This object waits for it.
        streams: the pipes of the process.
        order: what was to be run, how long, and with which input.

    Attributes:
        deadline: when everything is killed, by time.monotonic(); None means never.
        cause: why everything was killed; None if it was not.
        returncode: that of the process; None until it has ended.
        wall_time: elapsed seconds from the start of the watch to the end.
        output: the pieces that were read, by the number of the stream.
    """

    def __init__(self, child: Child, streams: Streams, order: Order) -> None:
        self._child = child
        self._streams = streams
        self._data = memoryview(order.data)
        self._left = order.output_limit
        self._listener = order.on_output
        self._started = time.monotonic()
        self.deadline = None if order.timeout is None else self._started + order.timeout
        self._oom: OomWatch | None = None
        self.cause: Verdict | None = None
        self.returncode: int | None = None
        self.wall_time = 0.0
        self.output: dict[int, list[bytes]] = {_OUT: [], _ERR: []}
        if child.tree is not None:
            self._oom = child.tree.watch_oom()
        if not order.data:
            streams.close_end(0)

    def descriptors(self) -> dict[int, tuple[int, Callable[[], object]]]:
        """Return what to wait for: descriptors, each with events of poll(2) and what to call."""
        if self.returncode is not None:
            return {}
        found: dict[int, tuple[int, Callable[[], object]]] = {
            self._child.pidfd: (select.POLLIN, self._ended)
        }
        ours = self._streams.ours
        if self.cause is None:
            if 0 in ours:
                found[ours[0]] = select.POLLOUT, self._write
            for number in (_OUT, _ERR):
                if number in ours:
                    found[ours[number]] = select.POLLIN, partial(self._read, number)
            if self._oom is not None:
                found[self._oom.fileno()] = select.POLLIN, self._short_of_memory
        return found

    def run(self) -> None:
        """Wait until the process has ended and its output is read."""
        while waiting := self.descriptors():
            poller = select.poll()
            for fd, (events, _) in waiting.items():
                poller.register(fd, events)
            ready = dict(poller.poll(self._longest()))
            # The end comes first: what has ended in time has not timed out.
            for fd, (_, handle) in waiting.items():
                if fd in ready:
                    handle()
                    break
            else:
                self.check_time()

    def _longest(self) -> float:
        """Return how many milliseconds poll(2) may take."""
        left = _LONGEST_POLL
        if self.deadline is not None and self.cause is None:
            left = min(left, max(0.0, self.deadline - time.monotonic()))
        return left * 1000

    def check_time(self) -> None:
        """Kill everything if the time is over."""
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self._kill(Verdict.TIMEOUT)

    def kill(self) -> None:
        """Kill everything, and wait for it."""
        if self.returncode is None:
            self._kill_tree()
            self._ended()

    def close(self) -> None:
        """Close the descriptors."""
        if self._oom is not None:
            self._oom.close()
        self._streams.close()
        self._child.close()

    # ---- what can happen

    def _kill(self, cause: Verdict) -> None:
        if self.cause is None:
            self.cause = cause
            self._kill_tree()

    def _kill_tree(self) -> None:
        # The process is PID 1 of the namespace of all others, or their cgroup is its own.
        self._child.kill()

    def _short_of_memory(self) -> None:
        assert self._oom is not None
        if self._oom.wait(0):
            self._kill(Verdict.OUT_OF_MEMORY)
        else:  # the cgroup is gone
            self._oom.close()
            self._oom = None

    def _ended(self) -> None:
        self.returncode = self._child.wait()
        self.wall_time = time.monotonic() - self._started
        # Nothing of the tree is left: what is in the pipes now is all that there is.
        for number in (_OUT, _ERR):
            while number in self._streams.ours and self._read(number):
                pass
        self._streams.close()

    def _read(self, number: int) -> bool:
        """Read a piece of output. Return False if there is nothing to read now, or any more."""
        try:
            piece = os.read(self._streams.ours[number], min(_CHUNK, self._left + 1))
        except BlockingIOError:
            return False
        if not piece:
            self._streams.close_end(number)
            return False
        self._keep(number, piece[: self._left])
        if len(piece) > self._left:
            self._left = 0
            self._too_much()
            return False
        self._left -= len(piece)
        return True

    def _keep(self, number: int, piece: bytes) -> None:
        if piece:
            self.output[number].append(piece)
            if self._listener is not None:
                self._listener(number, piece)

    def _too_much(self) -> None:
        # Kill before closing: a program that writes to a closed pipe could end by itself.
        if self.returncode is None:
            self._kill(Verdict.OUTPUT_LIMIT)
        elif self.cause is None:
            self.cause = Verdict.OUTPUT_LIMIT
        for number in (_OUT, _ERR):
            self._streams.close_end(number)

    def _write(self) -> None:
        try:
            written = os.write(self._streams.ours[0], self._data[:_CHUNK])
        except BlockingIOError:
            return
        except BrokenPipeError:
            written = len(self._data)
        self._data = self._data[written:]
        if not self._data:
            self._streams.close_end(0)
