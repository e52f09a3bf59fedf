"""Plain data comes back unchanged, and bytes of a hostile process cannot cost more than allowed."""

from __future__ import annotations

import contextlib
import enum
import marshal
import math
import pickle
import struct
import sys
import time
from collections import OrderedDict, namedtuple
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsenter._remote.safe_data import MAX_DEPTH, Malformed, NotData, decode, encode

atoms = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers()
    | st.text(st.characters())
    | st.text(st.characters(categories=["Cs"]), max_size=3)
    | st.binary()
    | st.builds(bytearray, st.binary())
)
keys = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
values = st.recursive(
    atoms | st.sets(keys) | st.frozensets(keys),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(keys, inner),
    max_leaves=20,
)


def counted(tag: bytes, count: int, content: bytes = b"") -> bytes:
    return tag + count.to_bytes(4, sys.byteorder) + content


def shape(value: object) -> object:
    """Something that is equal for what is the same: 1 and True, 0.0 and -0.0 are not; a NaN is."""
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(repr(shape(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return type(value), [shape(item) for item in value]
    if isinstance(value, dict):
        return dict, [(shape(key), shape(item)) for key, item in value.items()]
    if isinstance(value, complex):
        return complex, shape(value.real), shape(value.imag)
    return type(value), struct.pack("d", value) if isinstance(value, float) else value


@given(values)
def test_what_is_plain_comes_back(value: object) -> None:
    back = decode(encode(value), memory=1 << 30, deadline=time.monotonic() + 60)
    assert shape(back) == shape(value)


ENDS = {
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "minus zero": -0.0,
    "a denormal": sys.float_info.min / 2,
    "a huge int": 2**100_000,
    "a byte boundary": -(2**63),
    "a lone surrogate": "\udc80",
    "a NUL": "\0",
}


@pytest.mark.parametrize("value", ENDS.values(), ids=ENDS)
def test_the_ends_of_the_ranges_come_back(value: object) -> None:
    assert shape(decode(encode(value))) == shape(value)


def test_a_nan_comes_back_with_its_sign() -> None:
    back = decode(encode([math.nan, -math.nan]))
    assert [math.isnan(value) for value in back] == [True, True]
    assert [math.copysign(1, value) for value in back] == [1.0, -1.0]


class Colour(enum.IntEnum):
    RED = 1


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (object(), "object is not plain data"),
        (Colour.RED, "Colour is not plain data"),
        ([0, {"x": (1, {2: Pair(1, 2)})}], r"\[1\]\['x'\]\[1\]\[a int\]: .*Pair is not plain"),
        ({("a", Colour.RED): 1}, r" a key\[1\]: .*Colour"),
        ({Pair(1, 2)}, r" an item: .*Pair"),
        (OrderedDict(), "OrderedDict is not plain data"),
        (memoryview(b"x"), "memoryview is not plain data"),
    ],
)
def test_what_is_not_plain_is_named_with_its_place(value: object, told: str) -> None:
    with pytest.raises(NotData, match=told):
        encode(value)


def test_what_is_in_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(NotData, match="nested deeper than 100"):
        encode(loop)


def test_more_than_is_allowed_is_not_written() -> None:
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        encode([b"x" * 600] * 2, 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        encode("x" * 2000, 1000)


# ---- enemies


@given(st.binary())
def test_any_bytes_are_a_value_or_refused(data: bytes) -> None:
    try:
        value = decode(data, memory=1 << 20)
    except Malformed:
        return
    assert shape(decode(encode(value))) == shape(value)


@given(values, st.data())
def test_bytes_that_were_changed_are_a_value_or_refused(value: object, data: st.DataObject) -> None:
    changed = bytearray(encode(value))
    at = data.draw(st.integers(0, len(changed) - 1))
    changed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        decode(bytes(changed), memory=1 << 20)


@given(values)
def test_bytes_that_end_early_or_late_are_refused(value: object) -> None:
    data = encode(value)
    for end in {0, 1, len(data) // 2, len(data) - 1} - {len(data)}:
        with pytest.raises(Malformed, match="ends early"):
            decode(data[:end])
    with pytest.raises(Malformed, match="1 bytes follow the value"):
        decode(data + b"N")


@pytest.mark.parametrize("tag", [b"s", b"b", b"a", b"i", b"l", b"t", b"d", b"S", b"Z"])
def test_a_length_that_lies_costs_nothing(tag: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(Malformed, match="ends early"):
        decode(counted(tag, 0xFFFF_FFFF, b"N" * 8))
    assert time.monotonic() - started < 10


def test_other_formats_are_refused() -> None:
    for data in (pickle.dumps(print), pickle.dumps([1]), marshal.dumps([1, "x"]), b"", b"{}"):
        with pytest.raises(Malformed):
            decode(data)


def test_deep_nesting_is_refused_before_the_stack_ends() -> None:
    def nested(depth: int) -> bytes:
        return counted(b"l", 1) * depth + b"N"

    decode(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 1_000_000):
        with pytest.raises(Malformed, match="nested deeper than 100"):
            decode(nested(depth))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (counted(b"S", 1, counted(b"l", 0)), "unhashable type: 'list'"),
        (counted(b"d", 1, counted(b"S", 0) + b"N"), "unhashable type: 'set'"),
        (counted(b"d", 1, counted(b"t", 1, counted(b"a", 0)) + b"N"), "unhashable"),
        (counted(b"S", 2, b"NN"), "a key is there twice"),
        (counted(b"d", 2, b"T" + counted(b"i", 1, b"\1") + b"NN"), "a key is there twice"),
        (counted(b"s", 1, b"\xff"), "a str is no UTF-8"),
        (counted(b"s", 2, b"\xc0\x80"), "a str is no UTF-8"),
        (b"?", "unknown type b'\\?' at offset 0"),
        (b"fabc", "ends early"),
    ],
)
def test_what_encode_does_not_write_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Malformed, match=told):
        decode(data)


@pytest.mark.parametrize("count", [100, 100_000])
def test_keys_that_are_made_to_collide_are_refused_at_once(count: int) -> None:
    modulus = sys.hash_info.modulus
    flood = [encode(number * modulus) for number in range(count)]
    items = b"".join(flood)
    started = time.monotonic()
    for data in (
        counted(b"S", len(flood), items),
        counted(b"Z", len(flood), items),
        counted(b"d", len(flood), items + b"N" * len(flood)),
    ):
        with pytest.raises(Malformed, match="made to have one hash"):
            decode(data)
    assert time.monotonic() - started < 30


def test_honest_keys_of_one_hash_are_taken() -> None:
    value = {-1: "a", -2: "b", 0: "c", sys.hash_info.modulus: "d"}
    assert decode(encode(value)) == value


@pytest.mark.parametrize("tag", [b"l", b"S", b"d", b"t"])
def test_little_that_becomes_much_is_refused(tag: bytes) -> None:
    """5 bytes of an empty set are 216 in memory."""
    many = counted(b"l", 200_000, counted(tag, 0) * 200_000)
    with pytest.raises(Malformed, match="more than 1048576 bytes of memory"):
        decode(many, memory=1 << 20)


MANY = 200_000
SLOW = {
    "numbers": counted(b"l", MANY, encode(5) * MANY),
    "empty lists": counted(b"t", MANY, counted(b"l", 0) * MANY),
    # The inner tuple is hashed anew by each set around it.
    "keys in keys": (counted(b"Z", 1) + counted(b"t", 1)) * 45 + counted(b"t", MANY, b"N" * MANY),
}


def number(bits: int) -> bytes:
    return counted(b"i", bits // 8, b"\xff" * (bits // 8 - 1) + b"\1")


def common(name: str, *payload: bytes) -> bytes:
    return b"x" + encode(name) + counted(b"t", len(payload), b"".join(payload))


LARGE, HALF = number(1 << 20), number(1 << 19)
LARGE_NUMBERS = {
    "range": common("builtins.range", encode(0), LARGE, HALF),
    "Fraction": common("fractions.Fraction", LARGE, HALF),
    "shape": common(
        "numpy.ndarray", encode("|u1"), counted(b"t", 16, HALF * 16), encode(bytearray())
    ),
}


@pytest.mark.parametrize("data", LARGE_NUMBERS.values(), ids=LARGE_NUMBERS)
def test_no_arithmetic_is_done_with_large_numbers(data: bytes) -> None:
    """To divide numbers ten times as long takes minutes, and no deadline ends it."""
    with pytest.raises(Malformed, match="a number is too large"):
        decode(data)


@pytest.mark.parametrize("value", [range(1 << (1 << 17)), PurePosixPath("x/" * 20_000)], ids=type)
def test_what_would_not_be_read_is_not_written(value: object) -> None:
    with pytest.raises(NotData, match=r"too (large|long)"):
        encode(value, more=True)


@pytest.mark.parametrize("kind", ["PosixPath", "PurePosixPath", "PureWindowsPath"])
def test_paths_of_many_names_are_refused(kind: str) -> None:
    """In memory they take twenty times as much as the answer that they came in."""
    longest = "x/" * (32766 // 2) + "x"
    assert str(decode(common(f"pathlib.{kind}", encode(longest)))).replace("\\", "/") == longest
    with pytest.raises(Malformed, match="a path is too long"):
        decode(common(f"pathlib.{kind}", encode(f"{longest}x")))
    many = counted(b"l", 30, common(f"pathlib.{kind}", encode(longest)) * 30)
    with pytest.raises(Malformed, match="bytes of memory"):
        decode(many, memory=8 << 20)


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_decoding_ends_at_its_deadline(data: bytes) -> None:
    """In processor time, of which a busy machine takes no more than an idle one."""
    began = time.process_time()
    decode(data)
    whole = time.process_time() - began
    began = time.process_time()
    with pytest.raises(Malformed, match="too long"):
        decode(data, deadline=time.monotonic() + whole / 4)
    assert time.process_time() - began < whole * 3 / 4
