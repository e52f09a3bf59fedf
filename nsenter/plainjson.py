# SPDX-License-Identifier: Apache-2.0
"""JSON by the C code that the json module is made of, without that module's start-up cost.

`import json` compiles regular expressions, which takes longer than reading any config.json.
"""

from __future__ import annotations

import _json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, NoReturn

__all__ = ["dumps", "loads", "loads_at"]

_SPACE = " \t\n\r"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class _Settings:
    """What the scanner asks its context for."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    array_hook = None  # since 3.15
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}  # noqa: RUF012


_scan: Any = _json.make_scanner(_Settings)  # type: ignore[arg-type]


def _default(value: object) -> NoReturn:
    raise TypeError(f"{value!r} cannot be said in JSON")


_encode = _json.make_encoder(
    None, _default, _json.encode_basestring_ascii, None, ":", ",", False, False, False
)


def _error(text: str, at: int) -> ValueError:
    line = text.count("\n", 0, at) + 1
    return ValueError(f"no JSON value at line {line}, column {at - text.rfind(chr(10), 0, at)}")


def loads(text: str) -> Any:
    """The value of a JSON document.

    Raises:
        ValueError: it is none; says where.
    """
    start = len(text) - len(text.lstrip(_SPACE))
    try:
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise _error(text, stop.value) from None
    except SystemError:  # the scanner wants JSONDecodeError, which only the json module has
        import json

        return json.loads(text)  # raises it, with line and column
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        # What int() says of more digits than sys.get_int_max_str_digits() is of no use here.
        why = "a number has too many digits" if "digits" in str(error) else str(error)
        raise ValueError(why) from None
    if text[end:].strip(_SPACE):
        raise _error(text, end)
    return value


def loads_at(text: str, at: int) -> Any:
    """The value that begins at a place of a text, whatever is behind it. Raises ValueError."""
    try:
        return _scan(text, at + len(text[at:]) - len(text[at:].lstrip(_SPACE)))[0]
    except (StopIteration, SystemError, RecursionError):
        raise ValueError("no whole JSON value") from None


def dumps(value: Any, *, indent: int = 0) -> str:
    """The JSON document of a value.

    Args:
        indent: spaces for each level; 0: all in one line.

    Raises:
        TypeError, ValueError: JSON cannot say it.
    """
    if indent:
        return "".join(_indented(value, "\n", " " * indent))
    return "".join(_encode(value, 0))


def _indented(value: Any, newline: str, step: str) -> Iterator[str]:
    """The pieces of a document with line breaks, which the C encoder does not make."""
    deeper = newline + step
    if isinstance(value, dict) and value:
        for i, (name, item) in enumerate(value.items()):
            yield f"{',' if i else '{'}{deeper}{dumps(name)}: "
            yield from _indented(item, deeper, step)
        yield newline + "}"
    elif isinstance(value, (list, tuple)) and value:
        for i, item in enumerate(value):
            yield f"{',' if i else '['}{deeper}"
            yield from _indented(item, deeper, step)
        yield newline + "]"
    else:
        yield dumps(value)
