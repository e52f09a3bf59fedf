# SPDX-License-Identifier: Apache-2.0
"""The options of a command as a table: one row each, which parsing and help are both made from.

Words are read as getopt_long(3) does, with three differences: nothing may be abbreviated, what
is in brackets is given by `=` alone (as in `--net=FILE`), and the first word that is no option
ends them, so that a command's own options stay its own. argparse would take 8 ms to import.
"""

from __future__ import annotations

from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Given", "Option", "Usage", "help_text", "parse"]

_COLUMN = 30
_WIDTH = 100
HELP = ("--help", "-h")


class Usage(ValueError):
    """The words on the command line cannot be meant so."""


class Option(Value):
    """One row.

    Args:
        names: how it may be spelled: "--net", "-n".
        metavar: of its value: "" where it takes none, "[FILE]" where it may be left out.
        help: what it does; "": the help leaves it out.
        field: what it sets.
        parse: makes the value of the word; raises ValueError. Without a word it gets "".
        group: the heading that the help has it under.
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    field: str
    parse: Callable[[str], Any] = str
    group: str = "options"

    @property
    def takes_value(self) -> bool:
        """Whether the next word is its value where no `=` gives one."""
        return bool(self.metavar) and not self.metavar.startswith("[")


class Given(Value):
    """What the words before the operands said.

    Args:
        values: each option's field and value, in order.
        operands: the words behind the options.
    """

    values: tuple[tuple[str, Any], ...]
    operands: tuple[str, ...]

    def all(self, field: str) -> list[Any]:
        """Every value that was given for a field."""
        return [value for name, value in self.values if name == field]

    def last(self, field: str, default: Any = None) -> Any:
        """The last value that was given for a field."""
        return (self.all(field) or [default])[-1]


def parse(options: Sequence[Option], words: Sequence[str]) -> Given:
    """Read the options that stand before the first operand, or before `--`.

    Raises:
        Usage: an option is unknown, or its value is missing, superfluous or bad.
    """
    by_name = {name: option for option in options for name in option.names}
    left, values = list(words), []
    while left and left[0].startswith("-") and left[0] != "-":
        word = left.pop(0)
        if word == "--":
            break
        name, value = _split(word)
        option = by_name.get(name)
        if option is None:
            raise Usage(f"{name}: there is no such option; --help lists those that are")
        if value is not None and len(name) == 2 and not _is_value(option, word):
            left.insert(0, f"-{value}")  # more letters: -mp is -m -p
            value = None
        if value is not None and not option.metavar:
            raise Usage(f"{word}: {name} takes no value")
        if value is None and option.takes_value:
            if not left:
                raise Usage(f"{name}: it takes a value: {name} {option.metavar}")
            value = left.pop(0)
        values.append((option.field, _parsed(option, name, value or "")))
    return Given(tuple(values), tuple(left))


def _split(word: str) -> tuple[str, str | None]:
    """An option's name and what is attached to it: --net=FILE, -t5, -mp."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") if word[2:] else None


def _is_value(option: Option, word: str) -> bool:
    return option.takes_value or word[2] == "="


def _parsed(option: Option, name: str, value: str) -> Any:
    try:
        return option.parse(value)
    except ValueError as error:
        shown = f"{name} {value}" if value else name
        raise Usage(f"{shown}: {error}") from None


def help_text(usage: str, about: str, options: Sequence[Option]) -> str:
    """What `--help` prints."""
    parts = [f"usage: {usage}", about.strip()]
    for group in dict.fromkeys(option.group for option in options):
        rows = [_row(option) for option in options if option.help and option.group == group]
        parts.append("\n".join([f"{group}:", *rows]))
    return "\n\n".join(parts)


def _row(option: Option) -> str:
    metavar = option.metavar
    shown = f"[={metavar[1:-1]}]" if metavar.startswith("[") else f" {metavar}" if metavar else ""
    spelled = f"  {', '.join(option.names)}{shown}"
    import textwrap  # 2 ms, for the help alone

    indent = " " * _COLUMN
    text = textwrap.fill(option.help, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(spelled) + 2 > _COLUMN:
        return f"{spelled}\n{text}"
    return spelled + text[len(spelled) :]
