# SPDX-License-Identifier: Apache-2.0
"""Encode many values of one type as a block, for `nsenter._remote.safe_data`.

With blocks, a million numbers do not take a million function calls.

The bytes that are read may come from hostile code. Any 8 bytes are a valid number. Lengths are
checked against the bytes that they count before any value is made. The memory that a block takes is
known before it is read.
"""

from __future__ import annotations

import sys
from itertools import accumulate, chain, pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

__all__ = ["LEAST", "WIDTHS", "Ragged", "columns", "kind_of", "pack", "unpack"]

LEAST = 32  # a block is worthwhile from this number of values on
# For each format: the size in bytes of a value, or of its length.
WIDTHS = {b"?": 1, b"i": 4, b"q": 8, b"d": 8, b"s": 8, b"b": 8}
_MOST_COLUMNS = 64
_EIGHT = 8
# How many values are made before the clock is checked again.
_AT_ONCE = 1 << 16
_SURROGATES = "surrogatepass"

# An int object with 64 bits takes up to 36 bytes.
_MOST_NUMBER = 36


class Ragged(ValueError):
    """The bytes are not a block. The error says why."""


def kind_of(values: Any) -> bytes:
    """Return the format in which a sequence can be written as a block; b"" if it cannot be."""
    kinds = set(map(type, values))
    return _KINDS.get(kinds.pop(), b"") if len(kinds) == 1 else b""


def _numbers_of(form: str, values: Sequence[Any]) -> bytes:
    """Return the bytes of numbers. Raise OverflowError if a number does not fit."""
    try:
        # An import statement would make this module a part of each module archive.
        array = __import__("array").array
    except ImportError:
        data = bytearray(WIDTHS[form.encode()] * len(values))
        view = memoryview(data).cast(form)  # type: ignore[call-overload]
        try:
            for index, value in enumerate(values):
                view[index] = value
        except ValueError as error:
            raise OverflowError(f"{error}") from None
        return bytes(data)
    packed: bytes = array(form, values).tobytes()
    return packed


def _numbers(form: str, data: bytes, pause: Callable[[], None]) -> list[Any]:
    view = memoryview(data).cast(form)  # type: ignore[call-overload]
    found: list[Any] = []
    for start in range(0, len(view), _AT_ONCE):
        found += view[start : start + _AT_ONCE].tolist()
        pause()
    return found


def pack(kind: bytes, values: Sequence[Any]) -> tuple[bytes, list[bytes]]:
    """Return the format of a block, and its bytes in pieces.

    The first piece has the number of bytes in WIDTHS for each value.

    Raises:
        OverflowError: a number has more than 64 bits.
    """
    if kind == b"q":
        try:
            return b"i", [_numbers_of("i", values)]
        except OverflowError:
            return kind, [_numbers_of("q", values)]
    if kind == b"d":
        return kind, [_numbers_of("d", values)]
    if kind == b"?":
        return kind, [bytes(values)]
    lengths = _numbers_of("q", [*map(len, values)])
    if kind == b"s":
        return kind, [lengths, "".join(values).encode("utf-8", _SURROGATES)]
    return kind, [lengths, b"".join(values)]


def unpack(
    kind: bytes, first: bytes, rest: bytes, room: Callable[[int], None], pause: Callable[[], None]
) -> list[Any]:
    """Return the values of a block.

    Args:
        kind: the format of the block.
        first, rest: its two pieces.
        room: is called with the bytes of memory that the values will take. It raises an error if
            these are too many.
        pause: is called from time to time. It raises an error if the deadline has passed.

    Raises:
        Ragged: the pieces do not fit together.
    """
    if kind == b"?":
        if first.translate(None, b"\0\1"):
            raise Ragged("a bool is neither")
        room(_EIGHT * len(first))
        return [*map(bool, first)]
    count = len(first) // WIDTHS[kind]
    if kind in (b"i", b"q", b"d"):
        room((_EIGHT + _MOST_NUMBER) * count)
        return _numbers(kind.decode(), first, pause)
    room((2 * _EIGHT + _MOST_NUMBER + sys.getsizeof(b"" if kind == b"b" else "\u0100")) * count)
    whole: Any = rest
    if kind == b"s":
        try:
            whole = rest.decode("utf-8", _SURROGATES)
        except UnicodeDecodeError as error:
            raise Ragged(f"a str is no UTF-8: {error.reason}") from None
    room(sys.getsizeof(whole) * 2)
    return slices(whole, _numbers("q", first, pause), pause)


def slices(whole: Any, lengths: list[int], pause: Callable[[], None]) -> list[Any]:
    """Cut a sequence into parts with these lengths.

    Raises:
        Ragged: the lengths do not add up to that of the sequence.
    """
    if min(lengths, default=0) < 0 or sum(lengths) != len(whole):
        raise Ragged("its lengths are not those of what follows")
    ends = [0, *accumulate(lengths)]
    found: list[Any] = []
    for first in range(0, len(lengths), _AT_ONCE):
        pause()
        here = ends[first : first + _AT_ONCE + 1]
        found += [whole[start:end] for start, end in pairwise(here)]
    return found


def columns(values: Sequence[Any]) -> tuple[Any, list[list[Any]]] | None:
    """Return the columns of rows that have the same form; None if they differ.

    The rows are dicts or sequences. The first item of the result is the keys of the dicts, or the
    number of items of the sequences.
    """
    first = values[0]
    if not 0 < len(first) <= _MOST_COLUMNS or set(map(len, values)) != {len(first)}:
        return None
    if type(first) is not dict:
        return len(first), [list(column) for column in zip(*values, strict=True)]
    keys = tuple(first)
    if set(map(type, keys)) != {str} or any(tuple(value) != keys for value in values):
        return None
    return keys, [[value[key] for value in values] for key in keys]


def flat(values: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Return the lengths of sequences, and a list of all their items."""
    return [*map(len, values)], [*chain.from_iterable(values)]


_KINDS: dict[type, bytes] = {
    int: b"q",
    float: b"d",
    bool: b"?",
    str: b"s",
    bytes: b"b",
    dict: b"D",
    list: b"l",
    tuple: b"t",
}
