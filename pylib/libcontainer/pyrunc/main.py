# SPDX-License-Identifier: Apache-2.0
"""The pyrunc command: parse the command line, run the module of the command, and report errors.

As with runc, the exit status is 1 after an error, 255 if `exec` could not execute the program, and
3 if there is no such command. `run` and `exec` in the foreground end with the status of the
process.
"""

from __future__ import annotations

import os
import sys

from libcontainer.errors import ConfigError, ContainerError
from libcontainer.pyrunc.log import Log
from libcontainer.pyrunc.options import COMMANDS, UsageError, parse_command, parse_globals
from libcontainer.pyrunc.output import OutputClosed, flush, show
from libcontainer.runc_messages import errno_text, message
from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

    from libcontainer.pyrunc.context import Context
    from nsenter._interpreter.prebooted import PrebootedInit

_FAILED = 1
_NO_SUCH_COMMAND = 3
_INTERRUPTED = 130
_EXEC_FAILED = 255
_no_image = "libcontainer.pyrunc.main.run was called"
_COMPLETION = "_ARGCOMPLETE"
_HELP = ("help", "h")
_NO_MEMORY = "cannot allocate memory (ulimit -v, ulimit -d and the caller's cgroup limit it)"
_PREFIXES = {
    "run": "pyrunc run failed: ",
    "create": "pyrunc create failed: ",
    "exec": "exec failed: ",
}


def main(
    init: Sequence[int] = (),
    before_leaving: Callable[[int], None] = lambda status: None,
    no_image: str = "",
) -> NoReturn:
    """Run the command and exit with its status.

    Args:
        init: the pid of a prebooted interpreter, and this process's ends of its two pipes. Nothing
            means that there is none.
        before_leaving: a function that is called with the status when the command is done.
        no_image: why this interpreter does not come from a memory image; "" means that it does.
    """
    global _no_image
    _no_image = no_image
    if _COMPLETION in os.environ:
        from libcontainer.pyrunc.help import complete

        complete()
    status = run(sys.argv[1:], _prebooted(init))
    before_leaving(status)
    _leave(status)


def _prebooted(init: Sequence[int]) -> PrebootedInit | None:
    if not init:
        return None
    from nsenter._interpreter.prebooted import PrebootedInit

    return PrebootedInit(*init)


def _leave(status: int) -> NoReturn:
    """End this process at once: the regular end of an interpreter takes a millisecond."""
    try:
        flush()
    except OutputClosed:
        status = status or _FAILED
    except OSError as error:
        status = status or _FAILED
        Log().error(f"write standard output: {errno_text(error.errno or 0)}")
    os._exit(status)


def run(words: list[str], prebooted: PrebootedInit | None = None) -> int:
    """Run a command line; return the exit status.

    Args:
        words: the command line without the name of the program.
        prebooted: a prebooted interpreter. It is ended if the command does not use it.
    """
    log = Log()
    status = _run(words, log, prebooted)
    try:
        if prebooted:
            prebooted.discard()
    except OSError as error:
        log.error(f"the init that waits cannot be ended: {message(error)}")
        return status or _FAILED
    return status


def _run(words: list[str], log: Log, prebooted: PrebootedInit | None) -> int:
    command = ""
    try:
        given, rest = parse_globals(words)
        log = _log(given)
        command, *words = rest or [""]
        if given["version"]:
            return _print_version()
        if given["help"] or not command or command in _HELP:
            return _print_help(log, words[0] if command in _HELP and words else "")
        if command not in COMMANDS:
            return _no_such_command(log, command)
        options, arguments = parse_command(command, words)
        if options["help"]:
            return _print_help(log, command)
        from libcontainer.pyrunc.context import Context

        context = Context(given, options, arguments, log, prebooted)
        return _execute(command, context)
    except UsageError as error:
        return _show_usage(log, error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OutputClosed:  # nobody reads what we say
        return _FAILED
    except (ConfigError, ContainerError, OSError, RuntimeError) as error:
        log.error(f"{_PREFIXES.get(command, '')}{message(error, of_exec=command == 'exec')}")
    except MemoryError:
        log.error(f"{_PREFIXES.get(command, '')}{_NO_MEMORY}")
    except Exception as error:  # a fault of ours
        log.error(f"{_PREFIXES.get(command, '')}internal error: {type(error).__name__}: {error}")
        _show_traceback(error)
    return _EXEC_FAILED if command == "exec" else _FAILED


def _show_traceback(error: Exception) -> None:
    """Print the traceback without the message, which may come from a container."""
    import traceback

    from nsenter._host.printable import printable

    sys.stderr.write("".join(traceback.format_tb(error.__traceback__)))
    sys.stderr.write(f"{printable(f'{type(error).__name__}: {error}')}\n")


def _execute(command: str, context: Context) -> int:
    from_where = f"no memory image: {_no_image}" if _no_image else "from a memory image"
    context.log.debug(f"the interpreter: {from_where}")
    context.log.debug(f"pyrunc {command} {' '.join(context.arguments)}: state in {context.root}")
    module = __import__(f"libcontainer.pyrunc.commands.{command}_command", fromlist=["execute"])
    status: int = module.execute(context)
    context.log.debug(f"pyrunc {command}: {status}")
    return status


def _log(given: dict[str, Any]) -> Log:
    form = given["log_format"]
    if form not in ("text", "json"):
        raise ContainerError(f"invalid log-format: {form}")
    try:
        return Log(given["log"], form, given["debug"])
    except OSError as error:
        raise ContainerError(message(error)) from None


def _print_version() -> int:
    from libcontainer.specconv.features import features
    from nsenter import __version__

    # In runc's form, which Docker and containerd read: the tag stands for the commit.
    show(f"pyrunc version {__version__}\ncommit: v{__version__}")
    show(f"spec: {features()['ociVersionMax']}\npython: {sys.version.split()[0]}")
    return 0


def _print_help(log: Log, command: str) -> int:
    from libcontainer.pyrunc.help import text

    if command and command not in COMMANDS:
        return _no_such_command(log, command)
    show(text(command).removesuffix("\n"))
    return 0


def _no_such_command(log: Log, command: str) -> int:
    log.error(f"No help topic for '{command}'")
    return _NO_SUCH_COMMAND


def _show_usage(log: Log, error: UsageError) -> int:
    from libcontainer.pyrunc.help import text

    with suppress(OutputClosed):
        show(f"Incorrect Usage: {error}\n\n{text(error.command)}".removesuffix("\n"))
    log.error(str(error))
    return _FAILED
