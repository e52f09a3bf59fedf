# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of `python -m nsenter`, one module each.

Each has `main(words)`, which returns the exit status, and a table of options.
"""

from __future__ import annotations

import os
import sys

from nsenter.commands.table import HELP, Option, ParsedArguments, Usage, help_text, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = Option(HELP, "", "print this help and exit", "help")


def discard(stream: int) -> None:
    """Replace a stream by /dev/null, because the interpreter flushes it when it ends.

    A flush that fails would change the exit status.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    if null == stream:
        os.set_inheritable(null, True)
        return
    os.dup2(null, stream)
    os.close(null)


def complain(text: str, end: str = "\n") -> None:
    """Print to standard error.

    If standard error cannot be written to, nobody reads it, and the exit status stays the same.
    """
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        discard(2)


def read(
    name: str,
    about: str | None,
    options: Sequence[Option],
    words: Sequence[str],
    operands: str = "",
) -> ParsedArguments | None:
    """Parse the arguments of a command; return None after its help was asked for and printed.

    Args:
        name: the name of the command.
        about: its description.
        options: its options.
        words: the arguments.
        operands: what may follow the options, for the help. "" means nothing.

    Raises:
        Usage: the arguments are not valid.
    """
    given = parse((*options, _HELP), words)
    if given.all("help"):
        usage = f"python -m nsenter {name} [OPTION]… {operands}".rstrip()
        print(help_text(usage, about or "", (*options, _HELP)))
        return None
    if given.operands and not operands:
        raise Usage(f"{given.operands[0]}: {name} takes only options")
    return given


def read_file(given: ParsedArguments) -> tuple[str, bytes]:
    """Return the name and the content of the operand's file; "-" or none means standard input."""
    if len(given.operands) > 1:
        raise Usage(f"{given.operands[1]}: the command takes only one file")
    path = given.operands[0] if given.operands else "-"
    if path == "-":
        return "<stdin>", sys.stdin.buffer.read()
    with open(path, "rb") as file:
        return path, file.read()
