# SPDX-License-Identifier: Apache-2.0
"""Encode plain data as bytes, and decode bytes that hostile code may have written.

Neither pickle nor marshal can be used for such bytes: pickle executes what they say, and marshal
trusts the lengths in them. This format supports None, bool, int, float, complex, str, bytes,
bytearray, tuple, list, dict, set and frozenset, but not their subclasses, and the values of
`nsenter._remote.safe_types`.

A value starts with a byte for its type. Depending on the type, nothing follows; or 8 bytes for a
float and 16 for a complex; or a length of 4 bytes, and as many bytes or values. Numbers are in
native byte order, because both sides run on the same machine. Many values of one type are a block
(nsenter/_remote/safe_arrays.py): b"u", the type of the sequence, the type of the values, and then
what this type requires.

This module also runs inside the namespaces. There, only modules that are built into the interpreter
can be imported.
"""

from __future__ import annotations

import sys
from time import monotonic

from nsenter._remote import safe_arrays, safe_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable
    from typing import Any, ClassVar

__all__ = ["Malformed", "NotData", "TooLarge", "TooSlow", "decode", "encode", "type_name"]

MAX_DEPTH = 100
_LENGTH_BYTES = 4
_MAX_LENGTH = (1 << 8 * _LENGTH_BYTES) - 1
_FLOAT_BYTES = 8
# Python uses lone surrogates for bytes of file names that are not UTF-8.
_SURROGATES = "surrogatepass"
# If more keys than this have the same hash, it is an attack and not chance: each of them would be
# compared with all others.
_MAX_COLLISIONS = 64
_VALUES_PER_CLOCK = 256


class NotData(TypeError):
    """A value is not plain data. `where` is its place in Python's syntax, such as "[3]['x']"."""

    def __init__(self, reason: str, where: str = "") -> None:
        super().__init__(reason, where)
        self.reason = reason
        self.where = where

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" if self.where else self.reason

    def inside(self, where: str) -> NotData:
        """Return the same error, as seen from the container of the value."""
        return NotData(self.reason, where + self.where)


class Malformed(ValueError):
    """The bytes were not made by `encode`, or exceed a limit."""


class TooLarge(Malformed):
    """The value takes more memory than was allowed."""


class TooSlow(Malformed):
    """The value takes longer to decode than was allowed."""


# ---- encoding


def type_name(kind: type) -> str:
    """Return the name of a type, with its module unless it is builtin."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def encode(value: object, most: int = _MAX_LENGTH, *, more: bool = False) -> bytes:
    """Encode a value as bytes.

    Args:
        value: the value.
        most: the maximum number of bytes.
        more: also accept the values of `nsenter._remote.safe_types`.

    Raises:
        NotData: the value is not plain data, is nested too deeply, or contains itself.
        ValueError: the encoded value has more than `most` bytes.
    """
    encoder = _Encoder(most, more)
    encoder.put(value, 0)
    return bytes(encoder.out)


class _Encoder:
    def __init__(self, most: int, more: bool) -> None:
        self.out = bytearray()
        self._most = most
        self._more = more
        self._blocks = True

    def put(self, value: Any, depth: int) -> None:
        kind = type(value)
        write = self._WRITERS.get(kind)
        if write is None and self._more:
            write = _Encoder._common
        if write is None:
            raise NotData(f"{type_name(kind)} is not plain data")
        if depth > MAX_DEPTH:
            raise NotData(f"nested deeper than {MAX_DEPTH}")
        write(self, value, depth)
        if len(self.out) > self._most:
            raise ValueError(f"more than {self._most} bytes")

    def _counted(self, tag: bytes, count: int) -> None:
        if count > _MAX_LENGTH:
            raise ValueError(f"more than {_MAX_LENGTH} in one value")
        self.out += tag + count.to_bytes(_LENGTH_BYTES, sys.byteorder)

    def _none(self, value: None, depth: int) -> None:
        self.out += b"N"

    def _bool(self, value: bool, depth: int) -> None:
        self.out += b"T" if value else b"F"

    def _int(self, value: int, depth: int) -> None:
        data = value.to_bytes(value.bit_length() // 8 + 1, sys.byteorder, signed=True)
        self._bytes(data, depth, b"i")

    def _float(self, value: float, depth: int) -> None:
        self.out += b"f" + _float_bytes(value)

    def _complex(self, value: complex, depth: int) -> None:
        self.out += b"c" + _float_bytes(value.real) + _float_bytes(value.imag)

    def _str(self, value: str, depth: int) -> None:
        self._bytes(value.encode("utf-8", _SURROGATES), depth, b"s")

    def _bytes(self, value: bytes | bytearray, depth: int, tag: bytes = b"b") -> None:
        if len(value) > self._most:
            raise ValueError(f"more than {self._most} bytes")
        self._counted(tag, len(value))
        self.out += value

    def _bytearray(self, value: bytearray, depth: int) -> None:
        self._bytes(value, depth, b"a")

    def _sequence(self, value: Any, depth: int) -> None:
        if len(value) >= safe_arrays.LEAST and self._block(value, depth):
            return
        self._counted(_SEQUENCE_TAGS[type(value)], len(value))
        for index, item in enumerate(value):
            try:
                self.put(item, depth + 1)
            except NotData as error:
                raise error.inside(f"[{index}]") from None

    def _block(self, value: Any, depth: int) -> bool:
        """Write a sequence as a block if that is possible, and return whether it was."""
        kind = safe_arrays.kind_of(value) if self._blocks else b""
        if not kind:
            return False
        before = len(self.out)
        try:
            written = self._block_of(kind, value, depth)
        except (NotData, OverflowError, safe_arrays.Ragged):
            # The error for a value that is not plain must name its place, which is unknown in a
            # block. Blocks are not tried again in this call: a sequence that contains itself would
            # be tried at each level.
            written = self._blocks = False
        if not written:
            del self.out[before:]
        return written

    def _block_of(self, kind: bytes, value: Any, depth: int) -> bool:
        if kind in (b"l", b"t", b"D"):
            return self._rows(kind, value, depth)
        if len(value) > self._most:
            raise ValueError(f"more than {self._most} bytes")
        kind, (first, *rest) = safe_arrays.pack(kind, value)
        self._counted(b"u" + _SEQUENCE_TAGS[type(value)] + kind, len(value))
        self.out += first
        for piece in rest:
            self._bytes(piece, depth)
        return True

    def _rows(self, kind: bytes, value: Any, depth: int) -> bool:
        """Write dicts or sequences by their columns; or sequences of any lengths, concatenated."""
        found = safe_arrays.columns(value)
        if found is None and kind == b"D":
            return False
        form = kind if found else kind.upper()
        self._counted(b"u" + _SEQUENCE_TAGS[type(value)] + form, len(value))
        if found is None:
            for part in safe_arrays.flat(value):
                self.put(part, depth + 1)
            return True
        keys, columns = found
        self.put(keys, depth + 1)
        for column in columns:
            self.put(column, depth + 1)
        return True

    def _set(self, value: Any, depth: int) -> None:
        self._counted(_SET_TAGS[type(value)], len(value))
        for item in value:
            try:
                self.put(item, depth + 1)
            except NotData as error:
                raise error.inside(" an item") from None

    def _common(self, value: object, depth: int) -> None:
        try:
            reduced = safe_types.reduced(value)
        except safe_types.Unfit as error:
            raise NotData(f"{type_name(type(value))}: {error}") from None
        if reduced is None:
            raise NotData(f"{type_name(type(value))} is not plain data")
        self.out += b"x"
        for part in reduced:
            self.put(part, depth + 1)

    def _dict(self, value: dict[Any, Any], depth: int) -> None:
        self._counted(b"d", len(value))
        for key in value:
            try:
                self.put(key, depth + 1)
            except NotData as error:
                raise error.inside(" a key") from None
        for key, item in value.items():
            try:
                self.put(item, depth + 1)
            except NotData as error:
                raise error.inside(f"[{_shown(key)}]") from None

    _WRITERS: ClassVar[dict[type, Callable[[_Encoder, Any, int], None]]] = {
        type(None): _none,
        bool: _bool,
        int: _int,
        float: _float,
        complex: _complex,
        str: _str,
        bytes: _bytes,
        bytearray: _bytearray,
        tuple: _sequence,
        list: _sequence,
        set: _set,
        frozenset: _set,
        dict: _dict,
    }


def _shown(key: object) -> str:
    """Return the text of a key for an error. Python refuses to print long ints, or takes long."""
    return repr(key)[:80] if type(key) in (str, bytes) else f"a {type(key).__name__}"


_SEQUENCE_TAGS: dict[type, bytes] = {tuple: b"t", list: b"l"}
_SET_TAGS: dict[type, bytes] = {set: b"S", frozenset: b"Z"}


def _float_bytes(value: float) -> bytes:
    data = bytearray(_FLOAT_BYTES)
    memoryview(data).cast("d")[0] = value  # the struct module may not be built in
    return bytes(data)


# ---- decoding


def decode(data: bytes, *, memory: int | None = None, deadline: float | None = None) -> Any:
    """Decode bytes that hostile code may have written.

    Args:
        data: the bytes.
        memory: how many bytes the value may take in memory, as sys.getsizeof counts. None means no
            limit.
        deadline: when the decoding must be done, in seconds of time.monotonic(). None means no
            limit.

    Raises:
        Malformed: `encode` has not made these bytes, or a limit is exceeded.
    """
    decoder = _Decoder(data, memory, deadline)
    value = decoder.value(0)
    if decoder.left():
        raise Malformed(f"{decoder.left()} bytes follow the value")
    return value


class _Decoder:
    def __init__(self, data: bytes, memory: int | None, deadline: float | None) -> None:
        self._data = data
        self._at = 0
        self._memory = memory
        self._used = 0
        self._deadline = deadline
        self._values = 0

    def left(self) -> int:
        return len(self._data) - self._at

    def value(self, depth: int) -> Any:
        tag = self._take(1)
        read = self._READERS.get(tag)
        if read is None:
            raise Malformed(f"unknown type {tag!r} at offset {self._at - 1}")
        if depth > MAX_DEPTH:
            raise Malformed(f"nested deeper than {MAX_DEPTH}")
        self._check_the_clock()
        value = read(self, depth)
        self._charge(sys.getsizeof(value))
        return value

    def _charge(self, size: int) -> None:
        """Count memory before it is allocated. Raise TooLarge if it is too much."""
        self._used += size
        if self._memory is not None and self._used > self._memory:
            raise TooLarge(f"it takes more than {self._memory} bytes of memory")

    def _check_the_clock(self) -> None:
        self._values += 1
        if not self._values % _VALUES_PER_CLOCK:
            self._check_the_deadline()

    def _check_the_deadline(self) -> None:
        if self._deadline is not None and monotonic() > self._deadline:
            raise TooSlow("it takes too long to decode")

    def _take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise Malformed(f"it ends early: {size} bytes should follow offset {self._at}")
        self._at += size
        return data

    def _length(self) -> int:
        """Read a length. Each byte or value that it counts takes at least one byte of the data."""
        length = int.from_bytes(self._take(_LENGTH_BYTES), sys.byteorder)
        if length > self.left():
            raise Malformed(f"it ends early: {length} should follow offset {self._at}")
        return length

    def _counted_bytes(self) -> bytes:
        return self._take(self._length())

    def _none(self, depth: int) -> None:
        return None

    def _true(self, depth: int) -> bool:
        return True

    def _false(self, depth: int) -> bool:
        return False

    def _int(self, depth: int) -> int:
        return int.from_bytes(self._counted_bytes(), sys.byteorder, signed=True)

    def _float(self, depth: int = 0) -> float:
        value: float = memoryview(self._take(_FLOAT_BYTES)).cast("d")[0]
        return value

    def _complex(self, depth: int) -> complex:
        return complex(self._float(), self._float())

    def _str(self, depth: int) -> str:
        try:
            return self._counted_bytes().decode("utf-8", _SURROGATES)
        except UnicodeDecodeError as error:
            raise Malformed(f"a str is no UTF-8: {error.reason}") from None

    def _bytes(self, depth: int) -> bytes:
        return self._counted_bytes()

    def _bytearray(self, depth: int) -> bytearray:
        return bytearray(self._counted_bytes())

    def _list(self, depth: int) -> list[Any]:
        return [self.value(depth + 1) for _ in range(self._length())]

    def _tuple(self, depth: int) -> tuple[Any, ...]:
        return tuple(self._list(depth))

    def _block(self, depth: int) -> Any:
        """Read a list or a tuple of many values of one type."""
        sequence, kind = self._SEQUENCES.get(self._take(1)), self._take(1)
        if sequence is None:
            raise Malformed(f"a block that is no sequence at offset {self._at - 2}")
        count = self._length()
        try:
            if kind in safe_arrays.WIDTHS:
                found = self._values_of(kind, count, depth)
            elif kind in (b"l", b"t", b"D"):
                found = self._rows(kind, count, depth)
            elif kind in (b"L", b"T"):
                found = self._ragged(self._SEQUENCES[kind.lower()], count, depth)
            else:
                raise Malformed(f"a block of an unknown type {kind!r} at offset {self._at}")
        except safe_arrays.Ragged as error:
            raise Malformed(f"{error}") from None
        return sequence(found)

    def _values_of(self, kind: bytes, count: int, depth: int) -> list[Any]:
        first = self._take(safe_arrays.WIDTHS[kind] * count)
        rest = b""
        if kind in (b"s", b"b"):
            self._expect(b"b")
            rest = self._counted_bytes()
        return safe_arrays.unpack(kind, first, rest, self._charge, self._check_the_deadline)

    def _rows(self, kind: bytes, count: int, depth: int) -> list[Any]:
        keys = self.value(depth + 1)
        if kind == b"D":
            if type(keys) is not tuple or not keys or set(map(type, keys)) != {str}:
                raise Malformed("the keys of a block of dicts are none")
            self._keys([*keys])
            width, row = len(keys), dict.fromkeys(keys)
        else:
            width, row = keys, self._SEQUENCES[kind]((None,))
        if type(width) is not int or not 0 < width <= self.left():
            raise Malformed("the width of a block is none")
        self._charge(count * (sys.getsizeof(row) + 8 + 8 * width))
        columns = [self._column(count, depth) for _ in range(width)]
        rows = zip(*columns, strict=True)
        made: Any = (dict(zip(keys, r, strict=True)) for r in rows) if kind == b"D" else rows
        return self._in_time(made if kind != b"l" else map(list, rows))

    def _column(self, count: int, depth: int) -> list[Any]:
        column = self.value(depth + 1)
        if type(column) is not list or len(column) != count:
            raise Malformed("a column of a block is as long as the others")
        return column

    def _ragged(self, sequence: Any, count: int, depth: int) -> list[Any]:
        lengths, flat = self.value(depth + 1), self.value(depth + 1)
        if type(lengths) is not list or len(lengths) != count or type(flat) is not list:
            raise Malformed("a block of sequences is none")
        if set(map(type, lengths)) != {int}:
            raise Malformed("the lengths of a block are none")
        self._charge(count * (sys.getsizeof(sequence()) + 8) + 8 * len(flat))
        parts = safe_arrays.slices(flat, lengths, self._check_the_deadline)
        return parts if sequence is list else [*map(sequence, parts)]

    def _in_time(self, made: Iterable[Any]) -> list[Any]:
        found = []
        for item in made:
            found.append(item)
            self._check_the_clock()
        return found

    def _expect(self, tag: bytes) -> None:
        if self._take(1) != tag:
            raise Malformed(f"no {tag!r} at offset {self._at - 1}")

    def _common(self, depth: int) -> Any:
        name, payload = self.value(depth + 1), self.value(depth + 1)
        self._check_the_deadline()
        self._charge(safe_types.memory_of(name, payload))
        try:
            return safe_types.rebuild(name, payload)
        except safe_types.Unfit as error:
            raise Malformed(f"{error}") from None

    def _set(self, depth: int) -> set[Any]:
        return set(self._keys(self._list(depth)))

    def _frozenset(self, depth: int) -> frozenset[Any]:
        return frozenset(self._keys(self._list(depth)))

    def _dict(self, depth: int) -> dict[Any, Any]:
        keys = self._keys(self._list(depth))
        return {key: self.value(depth + 1) for key in keys}

    def _keys(self, items: list[Any]) -> Iterable[Hashable]:
        """Check that keys are distinct, and can be looked up in constant time."""
        # Each set or dict that contains a tuple hashes it again, with everything in it.
        self._check_the_deadline()
        try:
            hashes = {hash(item) for item in items}
        except TypeError as error:
            raise Malformed(f"a key or an item of a set: {error}") from None
        if len(items) - len(hashes) > _MAX_COLLISIONS:
            raise Malformed("its keys are made to have one hash")
        if len(hashes) < len(items) and len(set(items)) < len(items):
            raise Malformed("a key is there twice")
        return items

    _SEQUENCES: ClassVar[dict[bytes, Any]] = {b"l": list, b"t": tuple}
    _READERS: ClassVar[dict[bytes, Callable[[_Decoder, int], Any]]] = {
        b"u": _block,
        b"N": _none,
        b"T": _true,
        b"F": _false,
        b"i": _int,
        b"f": _float,
        b"c": _complex,
        b"s": _str,
        b"b": _bytes,
        b"a": _bytearray,
        b"l": _list,
        b"t": _tuple,
        b"S": _set,
        b"Z": _frozenset,
        b"d": _dict,
        b"x": _common,
    }
