# SPDX-License-Identifier: Apache-2.0
"""The pyrunc command: parses the line, runs the command's module, and tells what went wrong.

The exit status is 1 for what went wrong, 255 where `exec` could not execute, and of `run` and
`exec` the process's own.
"""

from __future__ import annotations

import os
import sys

from libcontainer.errors import ConfigError, ContainerError
from libcontainer.pyrunc.log import Log
from libcontainer.pyrunc.options import UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from libcontainer.pyrunc.options import Line

_VERSION = "0.1.0"
_SPEC = "1.2.0"
_FAILED = 1
_EXEC_FAILED = 255
_COMPLETION = "_ARGCOMPLETE"


def main() -> NoReturn:
    """The entry point. Does not return: what an interpreter does at its end takes a millisecond."""
    if _COMPLETION in os.environ:
        from libcontainer.pyrunc.help import complete

        complete()
    status = _FAILED
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        pass
    except BaseException as error:  # a fault of ours: os._exit would hide it
        sys.excepthook(type(error), error, error.__traceback__)
    sys.stderr.flush()
    os._exit(status)


def run(words: list[str]) -> int:
    """Do what a command line says; returns the exit status."""
    try:
        line = parse(words)
    except UsageError as error:
        os.write(2, f"pyrunc: {error}; see pyrunc --help\n".encode())
        return _FAILED
    if line.globals["version"]:
        print(f"pyrunc version {_VERSION}\nspec: {_SPEC}\npython: {sys.version.split()[0]}")
        return 0
    if not line.command or line.globals["help"] or line.options["help"]:
        from libcontainer.pyrunc.help import text

        print(text(line.command), end="")
        return 0
    return _execute(line)


def _execute(line: Line) -> int:
    log = Log(line.globals["log"] or "", line.globals["log_format"], line.globals["debug"])
    if line.globals["log_format"] not in ("text", "json"):
        log.error(f"unknown log-format {line.globals['log_format']!r}: text or json")
        return _FAILED
    from libcontainer.pyrunc.context import Context

    name = f"libcontainer.pyrunc.commands.{line.command}_command"
    try:
        module = __import__(name, fromlist=["execute"])
        status: int = module.execute(Context(line, log))
    except (ConfigError, ContainerError, UsageError, OSError, RuntimeError) as error:
        log.error(f"{_PREFIXES.get(line.command, '')}{error}")
        return _EXEC_FAILED if line.command == "exec" else _FAILED
    return status


_PREFIXES = {
    "run": "pyrunc run failed: ",
    "create": "pyrunc create failed: ",
    "exec": "exec failed: ",
}
