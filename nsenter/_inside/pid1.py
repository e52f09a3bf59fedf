# SPDX-License-Identifier: Apache-2.0
"""A PID 1 in Python: starts one command, reaps whatever ends, passes signals on.

The target of `python -m nsenter run --python`. It runs in the namespaces, from the bundle.
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
_KILLED = 128  # plus the signal's number, as a shell tells it

# Not passed on: what cannot be caught, what is about ourselves, and what a fault raises.
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
    """As os.execvp, which imports what does not travel."""
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # which an interpreter ignores
        _signal.signal(number, _signal.SIG_DFL)
    failure: OSError | None = None
    for path in _candidates(argv[0]):
        try:
            posix.execve(path, list(argv), posix.environ)
        except OSError as error:
            # One that may not be executed says more than those that are not there.
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
    """Wait for every child; return when `pid` has ended, with its exit status."""
    while True:
        ended, status = posix.wait()
        if ended == pid:
            code = posix.waitstatus_to_exitcode(status)
            return code if code >= 0 else _KILLED - code


def main(channel: int, *argv: str) -> int:
    """Run `argv` as a child and return its exit status as a shell would."""
    posix.close(channel)
    pid = posix.fork()
    if pid == 0:
        _execute(argv)
    _forward(pid)
    return _reap_until(pid)
