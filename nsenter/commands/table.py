# SPDX-License-Identifier: Apache-2.0
"""The options of a command as a table, from which both parsing and help are made.

Words are parsed as getopt_long(3) does, with three differences. No option can be abbreviated. A
value in brackets is given by `=` only (as in `--net=FILE`). The first word that is not an option
ends the options, so that a command keeps its own. argparse is not used, because to import it takes
longer than a launch.
"""

from __future__ import annotations

from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["Option", "ParsedArguments", "Usage", "help_text", "parse"]

_COLUMN = 30
_WIDTH = 100
HELP = ("--help", "-h")


class Usage(ValueError):
    """The arguments of a command are not valid."""


class Option(Value):
    """One row.

    Args:
        names: how it may be spelled: "--net", "-n".
        metavar: of its value: "" where it takes none, "[FILE]" where it may be left out; of its
            values, "SOURCE TARGET", where it takes more words than one.
        help: what it does; "": the help leaves it out.
        field: what it sets.
        parse: makes the value of the words; raises ValueError. Without a word it gets "".
        group: the heading that the help has it under.
    """

    names: tuple[str, ...]
    metavar: str
    help: str
    field: str
    parse: Callable[..., Any] = str
    group: str = "options"

    @property
    def takes(self) -> int:
        """How many of the next words are its values if no `=` gives one."""
        return 0 if self.metavar.startswith("[") else len(self.metavar.split())

    def spelled(self, name: str) -> str:
        """Return the option as it is typed."""
        if self.metavar.startswith("["):
            return f"{name}[={self.metavar[1:-1]}]"
        return f"{name} {self.metavar}".rstrip()


class ParsedArguments(Value):
    """What the words before the operands said.

    Args:
        values: each option's field and value, in order.
        operands: the words behind the options.
    """

    values: tuple[tuple[str, Any], ...]
    operands: tuple[str, ...]

    def all(self, field: str) -> list[Any]:
        """Return every value that was given for a field."""
        return [value for name, value in self.values if name == field]

    def last(self, field: str, default: Any = None) -> Any:
        """Return the last value that was given for a field."""
        return (self.all(field) or [default])[-1]


def parse(options: Sequence[Option], words: Sequence[str]) -> ParsedArguments:
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
        own = _own_words(option, name, value, left)
        values.append((option.field, _parsed(option, name, own)))
    return ParsedArguments(tuple(values), tuple(left))


def _own_words(option: Option, name: str, value: str | None, left: list[str]) -> list[str]:
    """Return the values of an option, and remove them from the words that are left."""
    takes = option.takes if value is None else 0
    if takes > len(left) or (value is not None and (option.takes > 1 or not option.metavar)):
        said = name if value is None else f"{name}={value}"
        raise Usage(f"{said}: expected {option.spelled(name)}")
    if value is not None:
        return [value]
    own = left[:takes]
    del left[:takes]
    return own or [""]


def _split(word: str) -> tuple[str, str | None]:
    """Return the name of an option and what is attached to it: --net=FILE, -t5, -mp."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    return word[:2], word[2:].removeprefix("=") if word[2:] else None


def _is_value(option: Option, word: str) -> bool:
    return option.takes > 0 or word[2] == "="


def _parsed(option: Option, name: str, words: Sequence[str]) -> Any:
    try:
        return option.parse(*words)
    except ValueError as error:
        shown = " ".join(filter(None, (name, *words)))
        raise Usage(f"{shown}: {error}") from None


def help_text(usage: str, about: str, options: Sequence[Option]) -> str:
    """Return what `--help` prints."""
    parts = [f"usage: {usage}", about.strip()]
    for group in dict.fromkeys(option.group for option in options):
        rows = [_row(option) for option in options if option.help and option.group == group]
        parts.append("\n".join([f"{group}:", *rows]))
    return "\n\n".join(parts)


def _row(option: Option) -> str:
    import textwrap  # 2 ms, for the help alone

    spelled = f"  {option.spelled(', '.join(option.names))}"
    indent = " " * _COLUMN
    text = textwrap.fill(option.help, _WIDTH, initial_indent=indent, subsequent_indent=indent)
    if len(spelled) + 2 > _COLUMN:
        return f"{spelled}\n{text}"
    return spelled + text[len(spelled) :]
