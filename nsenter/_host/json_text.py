# SPDX-License-Identifier: Apache-2.0
"""The json module with stricter rules and uniform errors.

Numbers must be finite, and text that cannot be parsed raises a ValueError that speaks of JSON.

To import json, which imports re, takes 2 ms, a twentieth of what a container's start takes without
a memory image. So the C functions behind it are called directly, as json calls them. Whatever they
refuse is given to json again, for its errors.
"""

from __future__ import annotations

import _json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import json.decoder
    from typing import Any, NoReturn

__all__ = ["dumps", "loads", "loads_at"]

_SPACE = " \t\n\r"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


class _Context:
    """What json.JSONDecoder(parse_constant=_refuse_constant) tells the scanner."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = staticmethod(_refuse_constant)


if hasattr(sys, "gettotalrefcount"):
    import json.decoder  # a debug build of Python 3.11 would abort instead of raising SystemError

_context: Any = _Context
_scan = _json.make_scanner(_context)


def _decoder() -> json.JSONDecoder:
    import json

    return json.JSONDecoder(parse_constant=_refuse_constant)


def loads(text: str) -> Any:
    """Return the value of a JSON document.

    Raises:
        ValueError: it is no JSON; says where.
    """
    stripped = text.strip(_SPACE)
    try:
        value, end = _scan(stripped, 0)
        if end == len(stripped):
            return value
    except (StopIteration, ValueError, RecursionError, SystemError):
        # Python 3.11 looks for its exception in json.decoder. If that is not imported, it raises
        # SystemError instead.
        pass
    return _decoded(text)


def _decoded(text: str) -> Any:
    """Do the same as `loads` with the json module, which says what is wrong."""
    import json

    try:
        return _decoder().decode(text)
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
        return _decoder().raw_decode(text[at:].lstrip(_SPACE))[0]
    except (ValueError, RecursionError):
        raise ValueError("no whole JSON value") from None


def dumps(value: Any, *, indent: int = 0) -> str:
    """Return the JSON document of a value.

    Args:
        value: the value.
        indent: spaces for each level; 0: all in one line.

    Raises:
        TypeError, ValueError: JSON has no such value.
    """
    if not indent:
        try:
            return "".join(_encoder()(value, 0))
        except (TypeError, ValueError, RecursionError):
            pass
    import json

    if indent:
        return json.dumps(value, indent=indent, allow_nan=False)
    return json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode(value)


def _encoder() -> Any:
    """Return what json.JSONEncoder(separators=(",", ":"), allow_nan=False) encodes with."""
    markers: dict[int, Any] = {}
    flags = (False, False, False)  # sort_keys, skipkeys, allow_nan
    return _json.make_encoder(
        markers, _refuse, _json.encode_basestring_ascii, None, ":", ",", *flags
    )


def _refuse(value: object) -> NoReturn:
    raise TypeError(type(value).__name__)
