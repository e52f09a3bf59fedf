# SPDX-License-Identifier: Apache-2.0
"""The json module with stricter rules and uniform errors.

Numbers must be finite, and text that cannot be parsed raises a ValueError that speaks of JSON.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["dumps", "loads", "loads_at"]

_SPACE = " \t\n\r"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def loads(text: str) -> Any:
    """Return the value of a JSON document.

    Raises:
        ValueError: it is no JSON; says where.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except json.JSONDecodeError as error:
        if error.msg in ("Expecting value", "Extra data"):
            where = f"line {error.lineno}, column {error.colno}"
            raise ValueError(f"no JSON value at {where}") from None
        raise ValueError(str(error)) from None
    except ValueError as error:
        # int() advises to call sys.set_int_max_str_digits(), which is of no use here.
        why = "a number has too many digits" if "digits" in str(error) else str(error)
        raise ValueError(why) from None


def loads_at(text: str, at: int) -> Any:
    """Return the value that begins at a place of a text, whatever is behind it.

    Raises:
        ValueError: there is no whole one.
    """
    try:
        return _decoder.raw_decode(text[at:].lstrip(_SPACE))[0]
    except (ValueError, RecursionError):
        raise ValueError("no whole JSON value") from None


def dumps(value: Any, *, indent: int = 0) -> str:
    """Return the JSON document of a value.

    Args:
        indent: spaces for each level; 0: all in one line.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    if indent:
        return json.dumps(value, indent=indent, allow_nan=False)
    return _encoder.encode(value)
