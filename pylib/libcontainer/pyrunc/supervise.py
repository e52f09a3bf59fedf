# SPDX-License-Identifier: Apache-2.0
"""Being the parent of a process in the foreground: signals go to it, orphans come from it."""

from __future__ import annotations

import _signal
import os
import select

from nsenter.system import prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.process import Process
    from libcontainer.pyrunc.tty import Terminal

_PR_SET_CHILD_SUBREAPER = 36
# Ours to handle, or impossible to, or sent by our own faults.
_KEPT = {
    _signal.SIGCHLD, _signal.SIGKILL, _signal.SIGSTOP, _signal.SIGURG, _signal.SIGWINCH,
    _signal.SIGPIPE, _signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL,
    _signal.SIGABRT, _signal.SIGTRAP, _signal.SIGSYS, _signal.SIGTTOU, _signal.SIGTTIN,
}  # fmt: skip
_FIRST_REALTIME = 32


def supervise(process: Process, terminal: Terminal | None, *, adopt: bool) -> int:
    """Wait for a process; returns its returncode.

    Args:
        terminal: whose ends are to be copied between.
        adopt: be the parent of what it leaves behind, so that it can be reaped.
    """
    if adopt:
        prctl("PR_SET_CHILD_SUBREAPER", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    # The number of each signal that arrives comes down the pipe.
    _signal.set_wakeup_fd(writer)
    for number in range(1, _FIRST_REALTIME):
        wanted = number not in _KEPT or (number == _signal.SIGWINCH and terminal is not None)
        if wanted and _signal.getsignal(number) is not _signal.SIG_IGN:
            _signal.signal(number, _note)
    if terminal is None:
        _wait(process, reader)
    else:
        terminal.copy_until(process, reader, lambda: forward(process, reader, terminal))
    status = process.wait()
    _reap_orphans()
    return status


def _note(number: int, frame: object) -> None:
    """The wake-up descriptor tells of it."""


def _wait(process: Process, reader: int) -> None:
    poller = select.poll()
    poller.register(process.pidfd, select.POLLIN)
    poller.register(reader, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if reader in ready:
            forward(process, reader, None)
        if process.pidfd in ready:
            return


def forward(process: Process, reader: int, terminal: Terminal | None) -> None:
    """Pass on the signals that have come."""
    try:
        numbers = os.read(reader, 64)
    except BlockingIOError:
        return
    for number in numbers:
        if number == _signal.SIGWINCH and terminal:
            terminal.resize()
        else:
            process.signal(number)


def _reap_orphans() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
