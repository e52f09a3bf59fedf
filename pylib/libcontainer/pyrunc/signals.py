# SPDX-License-Identifier: Apache-2.0
"""The signals that this command receives while it starts a process, and while the process runs."""

from __future__ import annotations

import _signal
import os

# Impossible to catch, sent by our own faults, or of the terminal that we write to.
_KEPT = {
    _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGURG, _signal.SIGPIPE,
    _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT,
    _signal.SIGTRAP, _signal.SIGSYS, _signal.SIGXFSZ, _signal.SIGTTOU, _signal.SIGTTIN,
    32, 33,  # the C library's own
}  # fmt: skip
_ABORTING = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)


class Aborted(KeyboardInterrupt):
    """A signal that asks this command to end has arrived while a process was being started.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number


class Signals:
    """The signals that this command receives, from the start of a process to its end."""

    def __init__(self) -> None:
        # The number of each signal that is caught comes down a pipe.
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def abort(self, *, keep_ignored: bool) -> None:
        """Raise `Aborted` at the next signal that asks this command to end, but only once.

        The caller can then undo an incomplete start. Signals that the caller had ignored stay
        ignored.

        Args:
            keep_ignored: leave the ignored signals blocked, as csrc/products/pyrunc.c has blocked
                them, so that they wait for `collect`.
        """
        for number in _ABORTING:
            if _signal.getsignal(number) != _signal.SIG_IGN:
                _signal.signal(number, _abort)
        if not keep_ignored:
            _unblock()

    def collect(self) -> None:
        """Collect all signals for `taken` from now on; none of them ends this command.

        This includes signals that the caller had ignored: a shell ignores SIGINT and SIGQUIT for
        its background jobs, and nohup(1) ignores SIGHUP, but the process must get what is sent to
        this command.
        """
        _signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for number in range(1, _signal.NSIG):
            if number not in _KEPT:
                _signal.signal(number, _note)
                _signal.siginterrupt(number, False)  # what is going on goes on
        _unblock()

    def taken(self) -> bytes:
        """Return the numbers of the signals that have arrived."""
        try:
            return os.read(self._reader, 256)
        except BlockingIOError:
            return b""

    def fileno(self) -> int:
        """Return the descriptor for poll(2)."""
        return self._reader


def _abort(number: int, frame: object) -> None:
    for other in _ABORTING:  # taking away is not to be aborted
        _signal.signal(other, _signal.SIG_IGN)
    raise Aborted(number)


def _unblock() -> None:
    """Unblock the signals: those that are pending arrive now, unless they are ignored."""
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def _note(number: int, frame: object) -> None:
    """Do nothing: the wake-up pipe reports the signal."""
