# SPDX-License-Identifier: Apache-2.0
"""Being the parent of a process in the foreground: signals go to it, orphans come from it."""

from __future__ import annotations

import _signal
import os

from libcontainer.pyrunc.watch import Watch
from nsenter._host.syscalls import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.process import Process
    from libcontainer.pyrunc.signals import Signals
    from libcontainer.pyrunc.streams import Streams
    from libcontainer.pyrunc.tty import Terminal

_PR_SET_CHILD_SUBREAPER = 36
_ENDING = {_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT}


class Supervisor:
    """Waits for a process, with all that is to be done meanwhile.

    Args:
        process: it; started.
        signals: collected; they are passed on to it.
        terminal: whose size follows ours, and whose ends are copied between; None: there is none.
        streams: that are copied; None: the process has a terminal.
        adopt: be the parent of what the process leaves behind, and reap it.

    Attributes:
        watch: for what else is to be looked at meanwhile.
    """

    def __init__(
        self,
        process: Process,
        signals: Signals,
        terminal: Terminal | None,
        streams: Streams | None,
        *,
        adopt: bool,
    ) -> None:
        self.watch = Watch()
        self._process = process
        self._signals = signals
        self._terminal = terminal
        self._streams = streams
        self._ended = False
        self._gives_up = False
        if adopt:
            prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.watch.add(process.pidfd, self._end)
        self.watch.add(signals.fileno(), self._forward)

    def wait(self) -> int:
        """Returns its returncode, once it has ended and all it wrote to its terminal is out."""
        if self._terminal:
            self._terminal.join(self.watch)
        if self._streams:
            self._streams.join(self.watch)
        while not self._ended:
            self.watch.turn()
        if self._terminal:
            self._terminal.drain()
        status = self._process.wait()
        self._reap_orphans()
        return status

    def finish(self) -> None:
        """Copy the output to its end: until nobody has it open any more, as runc does. Processes
        that were left behind may; a signal that asks us to end is enough then."""
        while self._streams and self._streams.has_output() and not self._gives_up:
            self.watch.turn()

    def _end(self) -> None:
        self._ended = True
        self.watch.drop(self._process.pidfd)
        if self._streams:
            self._streams.end_input()

    def _forward(self) -> None:
        """Pass on the signals that have come."""
        for number in self._signals.taken():
            if number == _signal.SIGCHLD:
                self._reap_orphans()
            elif number == _signal.SIGWINCH and self._terminal:
                self._terminal.resize()
            elif self._ended:
                self._gives_up |= number in _ENDING
            else:
                self._process.signal(number)

    def _reap_orphans(self) -> None:
        """All that have ended, but for the process itself, whose status is somebody's."""
        try:
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or found.si_pid == self._process.pid:
                    return
                os.waitpid(found.si_pid, 0)
        except ChildProcessError:
            pass
