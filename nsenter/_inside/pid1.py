# SPDX-License-Identifier: Apache-2.0
"""A PID 1 in Python: it starts a command, reaps processes that end, and forwards signals.

This is the target of `python -m nsenter run --python`. It runs in the namespaces, from the module
archive.
"""

from __future__ import annotations

import _signal  # not signal, which imports enum
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

_DEFAULT_PATH = b"/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_KILLED = 128  # plus the number of the signal, as a shell reports it

# Signals that are not forwarded: they cannot be caught, concern this process, or report a fault.
_OWN = {
    *(_signal.SIGKILL, _signal.SIGSTOP, _signal.SIGCHLD, _signal.SIGPIPE),
    *(_signal.SIGSEGV, _signal.SIGBUS, _signal.SIGFPE, _signal.SIGILL, _signal.SIGABRT),
    *(_signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGTSTP),
}


def _candidates(name: str) -> list[str]:
    if "/" in name:
        return [name]
    path = posix.environ.get(b"PATH", _DEFAULT_PATH).decode("utf-8", "surrogateescape")
    return [f"{folder or '.'}/{name}" for folder in path.split(":")]


def _execute(argv: Sequence[str]) -> NoReturn:
    """Execute a program like os.execvp. The os module is not in the module archive."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # the interpreter ignores these
        _signal.signal(number, _signal.SIG_DFL)
    failure: OSError | None = None
    for path in _candidates(argv[0]):
        try:
            posix.execve(path, list(argv), posix.environ)
        except OSError as error:
            # An error about a file that may not be executed says more than that a file is missing.
            if failure is None or not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                failure = error
    message = posix.strerror(failure.errno or 0) if failure else "PATH is empty"
    posix.write(2, f"nsenter: exec {argv[0]}: {message}\n".encode(errors="surrogateescape"))
    posix._exit(_NOT_FOUND if isinstance(failure, FileNotFoundError) else _NOT_EXECUTABLE)


def _forward(pid: int) -> None:
    def handler(number: int, frame: object) -> None:
        try:  # noqa: SIM105 - contextlib would have to travel
            posix.kill(pid, number)
        except ProcessLookupError:
            pass

    for number in _signal.valid_signals():
        if number not in _OWN and number < _signal.SIGRTMIN:
            _signal.signal(number, handler)


def _reap_until(pid: int) -> int:
    """Reap every child that ends. When `pid` has ended, return its exit status."""
    while True:
        ended, status = posix.wait()
        if ended == pid:
            code = posix.waitstatus_to_exitcode(status)
            return code if code >= 0 else _KILLED - code


def main(channel: int, *argv: str) -> int:
    """Run a command as a child. Return its exit status as a shell reports it.

    Args:
        channel: the socket to the launcher, which is closed.
        *argv: the command.
    """
    posix.close(channel)
    pid = posix.fork()
    if pid == 0:
        _execute(argv)
    _forward(pid)
    return _reap_until(pid)
