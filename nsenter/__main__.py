# SPDX-License-Identifier: Apache-2.0
"""python -m nsenter: start processes in namespaces, and look at what starts them."""

from __future__ import annotations

import errno
import os
import signal
import sys

from nsenter import intact
from nsenter.errors import BootstrapError
from nsenter.printable import printable
from nsenter.undo import notes_of

intact.check()

# The module of each is nsenter.commands.NAME; only the one that runs is imported.
_COMMANDS = {
    "run": "run a command in new and joined namespaces",
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


def _help() -> str:
    rows = "\n".join(f"  {name:8} {summary}" for name, summary in _COMMANDS.items())
    usage = "usage: python -m nsenter COMMAND [OPTION]… [ARGUMENT]…"
    return f"{usage}\n\n{__doc__}\n\ncommands:\n{rows}\n\n`COMMAND --help` tells of each."


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


def _run(name: str, words: list[str]) -> int:
    if name in ("--help", "-h"):
        print(_help())
        return 0
    if name in ("--version", "-V"):
        from nsenter import __version__

        print(f"pynsenter {__version__}")
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
    name, *words = (sys.argv[1:] if argv is None else argv) or [""]
    try:
        return _run(name, words)
    except KeyboardInterrupt:
        return KILLED + signal.SIGINT
    except BrokenPipeError:  # who reads our output has seen enough, as head(1)
        # What is left of it is not for the end of the interpreter to complain about.
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), 1)
        return KILLED + signal.SIGPIPE
    except (OSError, ValueError, LookupError, ImportError, TypeError) as error:
        print(f"nsenter: {printable(_said(error), keep=chr(10))}", file=sys.stderr)
        return _status_of(error)


if __name__ == "__main__":
    sys.exit(main())
