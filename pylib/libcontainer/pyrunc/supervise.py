# SPDX-License-Identifier: Apache-2.0
"""Being the parent of a process in the foreground: signals go to it, orphans come from it."""

from __future__ import annotations

import _signal
import os
import select

from nsenter.system import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.process import Process
    from libcontainer.pyrunc.tty import Terminal

_PR_SET_CHILD_SUBREAPER = 36
# Impossible to catch, sent by our own faults, or of the terminal that we write to.
_KEPT = {
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGURG, _signal.SIGPIPE,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT,
    _signal.SIGTRAP, _signal.SIGSYS, _signal.SIGTTOU, _signal.SIGTTIN,
    32, 33,  # the C library's own
}  # fmt: skip
_ABORTING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)


class Aborted(BaseException):
    """A signal has come while a process was being started.

    Attributes:
        number: its number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Signals:
    """The signals that this command gets, from the start of a process to its end."""

    def __init__(self) -> None:
        # The number of each signal that is caught comes down a pipe.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def abort(self) -> None:
        """From now on one that asks to end raises `Aborted`, once, so that what is half made can
        be taken away. Ignored ones stay so."""
        for number in _ABORTING:
            if _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _abort)

    def collect(self) -> None:
        """From now on they are kept for `taken`; none of them ends this command. Ignored ones stay
        so."""
        _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in range(1, _signal.NSIG):
            if number not in _KEPT and _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _note)
                _signal.siginterrupt(number, False)  # what is going on goes on

    def taken(self) -> bytes:
        """The numbers of those that have come."""
        try:
            return os.read(self._reader, 256)
        except BlockingIOError:
            return b""

    def fileno(self) -> int:
        """For poll(2)."""
        return self._reader


def _abort(number: int, frame: object) -> None:
    for other in _ABORTING:  # taking away is not to be aborted
        _signal.signal(other, _signal.SIG_IGN)
    raise Aborted(number)


def _note(number: int, frame: object) -> None:
    """The pipe tells of it."""


class Watch:
    """Descriptors, and what to do when one has something."""

    def __init__(self) -> None:
        self._poller = select.poll()
        self._actions: dict[int, Callable[[], None]] = {}

    def add(self, fd: int, action: Callable[[], None], events: int = select.POLLIN) -> None:
        """Call `action` whenever there is something; one that is watched is watched for other
        events from now on."""
        self._actions[fd] = action
        self._poller.register(fd, events)

    def drop(self, fd: int) -> None:
        """Watch it no more."""
        if self._actions.pop(fd, None):
            self._poller.unregister(fd)

    def turn(self) -> None:
        """Wait until there is something, and do what is to be done."""
        for fd, _ in self._poller.poll():
            action = self._actions.get(fd)
            if action:
                action()


class Supervisor:
    """Waits for a process, with all that is to be done meanwhile.

    Args:
        process: it; started.
        signals: collected; they are passed on to it.
        terminal: whose size follows ours, and whose ends are copied between.
        adopt: be the parent of what the process leaves behind, and reap it.

    Attributes:
        watch: for what else is to be looked at meanwhile.
    """

    def __init__(
        self, process: Process, signals: Signals, terminal: Terminal | None, *, adopt: bool
    ) -> None:
        self.watch = Watch()
        self._process = process
        self._signals = signals
        self._terminal = terminal
        self._ended = False
        if adopt:
            prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.watch.add(process.pidfd, self._end)
        self.watch.add(signals.fileno(), self._forward)

    def wait(self) -> int:
        """Returns its returncode, once it has ended and all it wrote to its terminal is out."""
        if self._terminal:
            self._terminal.join(self.watch)
        while not self._ended:
            self.watch.turn()
        if self._terminal:
            self._terminal.drain()
        status = self._process.wait()
        self._reap_orphans()
        return status

    def _end(self) -> None:
        self._ended = True

    def _forward(self) -> None:
        """Pass on the signals that have come."""
        for number in self._signals.taken():
            if number == _signal.SIGCHLD:
                self._reap_orphans()
            elif number == _signal.SIGWINCH and self._terminal:
                self._terminal.resize()
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
