# SPDX-License-Identifier: Apache-2.0
"""python -m nsenter: start processes in namespaces, and look at what starts them."""

from __future__ import annotations

import errno
import os
import signal
import sys

from nsenter._host import distribution_check
from nsenter._host.cleanup import notes_of
from nsenter._host.printable import printable
from nsenter.commands import complain, discard
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

distribution_check.check()

# The module of each is nsenter.commands.NAME; only the one that runs is imported.
_COMMANDS = {
    "run": "run a command in new and joined namespaces",
    "sandbox": "run a command that nobody trusts, with limits, and say why it ended",
    "ls": "list the namespaces: who is in them, who owns them, what keeps them",
    "doctor": "why namespaces do or do not work here, and what to do",
    "image": "make the memory image that Python in namespaces is started from",
    "types": "list the namespace types and what this kernel supports",
    "encode": "make a bootstrap message from JSON",
    "decode": "explain a bootstrap message, attribute by attribute",
    "stub": "take the place of `runc init` for a parent that speaks its protocol",
}

# As env(1), timeout(1) and docker have it: this command failed, or what it was to run is not
# there, or cannot be executed.
FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128  # plus the signal
_OUTPUT = "standard output"


def _help() -> str:
    rows = "\n".join(f"  {name:8} {summary}" for name, summary in _COMMANDS.items())
    usage = "usage: python -m nsenter COMMAND [OPTION]… [ARGUMENT]…"
    more = "`COMMAND --help` lists the options of a command."
    return f"{usage}\n\n{__doc__}\n\ncommands:\n{rows}\n\n{more}"


def _status_of(error: Exception) -> int:
    if not isinstance(error, BootstrapError) or error.operation != "execve":
        return FAILED
    return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


def _said(error: Exception) -> str:
    """Without the number that OSError puts before what it says; with what was noted on it."""
    said = str(error)
    if type(error).__str__ is OSError.__str__ and isinstance(error, OSError):
        parts = (error.filename, error.strerror)
        said = ": ".join(str(part) for part in parts if part is not None)
    return ", ".join((said, *notes_of(error)))


class _Output:
    """Standard output, which names itself in an error of a write."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: Any) -> Any:
        return self._named(self._stream.write, text)

    def flush(self) -> None:
        self._named(self._stream.flush)

    @property
    def buffer(self) -> _Output:
        return _Output(self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _named(self, act: Callable[..., Any], *args: Any) -> Any:
        try:
            return act(*args)
        except OSError as error:
            error.filename = _OUTPUT
            raise


def _prepare_streams() -> None:
    """Put /dev/null in the place of the streams that the caller has closed.

    Otherwise sys.stdout is None, and the first file that is opened becomes the output.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            discard(number)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.stdout = _Output(sys.stdout)


def _failed(error: Exception) -> int:
    if isinstance(error, OSError) and error.filename == _OUTPUT:
        discard(1)
    complain(f"nsenter: {printable(_said(error), keep=chr(10))}")
    return _status_of(error)


def _run(name: str, words: list[str]) -> int:
    if name in ("--help", "-h"):
        print(_help(), flush=True)
        return 0
    if name in ("--version", "-V"):
        from nsenter import __version__

        print(f"pynsenter {__version__}", flush=True)
        return 0
    if name not in _COMMANDS:
        said = f"{name} is not a command" if name else "a command is missing"
        raise ValueError(f"{said}; the commands are {', '.join(_COMMANDS)}")
    module = __import__(f"nsenter.commands.{name}", fromlist=["main"])
    status: int = module.main(words)
    sys.stdout.flush()  # what cannot be written is said here, not by the end of the interpreter
    return status


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    if argv is None:
        _prepare_streams()
    name, *words = (sys.argv[1:] if argv is None else argv) or [""]
    try:
        return _run(name, words)
    except KeyboardInterrupt:
        return KILLED + signal.SIGINT
    except BrokenPipeError:  # who reads our output has seen enough, as head(1)
        discard(1)
        return KILLED + signal.SIGPIPE
    except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
        return _failed(error)


if __name__ == "__main__":
    sys.exit(main())
