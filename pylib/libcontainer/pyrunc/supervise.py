# SPDX-License-Identifier: Apache-2.0
"""Be the parent of a process in the foreground: pass on signals, reap orphans."""

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
    """Waits for a process, and does what is to be done meanwhile.

    Args:
        process: the process, which was started.
        signals: the collected signals, which are passed on to the process.
        terminal: the terminal of the process, which gets the size of the caller's; None means none.
        streams: the pipes that are copied; None means that the process has a terminal.
        adopt: become the parent of the orphans that the process leaves, and reap them.

    Attributes:
        watch: the descriptors that are watched meanwhile.
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
        """Return the returncode after the process has ended and its terminal's output is copied."""
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
        """Copy the output until no process has the streams open, as runc does.

        Processes that were left behind may keep them open. Then a signal that asks this command to
        end is enough.
        """
        while self._streams and self._streams.has_output() and not self._gives_up:
            self.watch.turn()

    def _end(self) -> None:
        self._ended = True
        self.watch.drop(self._process.pidfd)
        if self._streams:
            self._streams.end_input()

    def _forward(self) -> None:
        """Pass on the signals that have arrived."""
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
        """Reap all children that have ended, but not the process itself, which `wait` reaps."""
        try:
            while True:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if found is None or found.si_pid == self._process.pid:
                    return
                os.waitpid(found.si_pid, 0)
        except ChildProcessError:
            pass
