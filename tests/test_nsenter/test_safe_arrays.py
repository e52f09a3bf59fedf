"""Many values of one type are sent as one block, unchanged, and no larger than allowed."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nsenter
from nsenter._remote.safe_arrays import LEAST
from nsenter._remote.safe_data import Malformed, NotData, TooLarge, TooSlow, decode, encode

NUMBER = 2 * LEAST
RECORDS = [{"id": n, "name": str(n), "part": n / 2, "is": n % 2 == 0} for n in range(NUMBER)]
BLOCKS = {
    "ints": [*range(-5, NUMBER)],
    "the largest ints": [2**63 - 1, -(2**63)] * LEAST,
    "the largest ints of 32 bits": [2**31 - 1, -(2**31)] * LEAST,
    "one int of 33 bits": [*range(NUMBER), 2**31],
    "one negative int of 33 bits": [*range(NUMBER), -(2**31) - 1],
    "floats": [0.5, float("inf"), -0.0] * LEAST,
    "bools": [True, False] * LEAST,
    "texts": ["", "a", "é", "\N{SNOWMAN}", "\0"] * LEAST,
    "lone surrogates beside each other": ["\ud800", "\udc00"] * LEAST,
    "bytes": [b"", b"\0\xff"] * LEAST,
    "a tuple": tuple(range(NUMBER)),
    "dicts": RECORDS,
    "tuples of one length": [(n, str(n), None) for n in range(NUMBER)],
    "lists of one length": [[n, str(n)] for n in range(NUMBER)],
    "lists of many lengths": [[1.5] * (n % 5) for n in range(NUMBER)],
    "tuples of many lengths": [(b"x",) * (n % 5) for n in range(NUMBER)],
    "lists of dicts": [RECORDS[: n % 3] for n in range(NUMBER)],
    "a tuple of tuples of dicts": tuple((RECORDS[0], n) for n in range(NUMBER)),
}
# What looks like one, and is none, or is a part of one.
OTHERS = {
    "larger ints": [2**63] * NUMBER,
    "ints and bools": [1, True] * NUMBER,
    "dicts of other keys": [{"a": 1}, {"b": 1}] * NUMBER,
    "dicts in another order": [{"a": 1, "b": 2}, {"b": 2, "a": 1}] * NUMBER,
    "dicts with other than texts for keys": [{1: 2}] * NUMBER,
    "empty dicts": [{}] * NUMBER,
    "empty lists": [[]] * NUMBER,
    "empty tuples": [()] * NUMBER,
    "bytearrays": [bytearray(b"x")] * NUMBER,
    "few": [1, 2, 3],
}


def types(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return type(value), [types(item) for item in value]
    if isinstance(value, dict):
        return dict, [(types(key), types(item)) for key, item in value.items()]
    return type(value)


@pytest.mark.parametrize("name", [*BLOCKS, *OTHERS])
def test_it_comes_back(name: str) -> None:
    value = (BLOCKS | OTHERS)[name]
    data = encode(value)
    back = decode(data)
    assert back == value
    assert types(back) == types(value)
    assert data.startswith(b"u") == (
        name in BLOCKS or (name.startswith("empty") and "d" not in name)
    )


@given(st.sampled_from([*BLOCKS]), st.data())
def test_bytes_that_were_changed_are_a_value_or_refused(name: str, draw: st.DataObject) -> None:
    changed = bytearray(encode(BLOCKS[name]))
    for _ in range(draw.draw(st.integers(1, 4))):
        changed[draw.draw(st.integers(0, len(changed) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decode(bytes(changed), memory=1 << 24)
    except Malformed:
        return


@pytest.mark.parametrize("name", BLOCKS)
def test_bytes_that_end_early_are_refused(name: str) -> None:
    data = encode(BLOCKS[name])
    for end in {*range(0, len(data), 7), len(data) - 1}:
        with pytest.raises(Malformed):
            decode(data[:end])


def test_ints_take_no_more_bytes_than_they_need() -> None:
    assert len(encode([2**31 - 1] * 1000)) < 4 * 1000 + 20
    assert len(encode([2**31] * 1000)) < 8 * 1000 + 20


@pytest.mark.parametrize("name", [*BLOCKS, *OTHERS])
def test_without_the_array_module_the_bytes_are_the_same(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = (BLOCKS | OTHERS)[name]
    expected = encode(value)
    monkeypatch.setitem(sys.modules, "array", None)
    assert encode(value) == expected


def block(sequence: bytes, kind: bytes, count: int, content: bytes) -> bytes:
    return b"u" + sequence + kind + count.to_bytes(4, sys.byteorder) + content


def eights(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(8, sys.byteorder, signed=True) for number in numbers)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (block(b"S", b"q", 0, b""), "no sequence"),
        (block(b"l", b"z", 0, b""), "unknown type b'z'"),
        (block(b"l", b"q", 3, eights(1, 2)), "ends early"),
        (block(b"l", b"?", 2, b"\0\2"), "a bool is neither"),
        (block(b"l", b"s", 1, eights(2) + encode(b"a")), "lengths"),
        (block(b"l", b"s", 2, eights(-1, 2) + encode(b"a")), "lengths"),
        (block(b"l", b"b", 2, eights(2**62, 2**62) + encode(b"a")), "lengths"),
        (block(b"l", b"s", 1, eights(1) + encode(b"\xff")), "no UTF-8"),
        (block(b"l", b"s", 1, eights(1) + encode("a")), "no b'b' at offset"),
        (block(b"l", b"D", 1, encode(("a",)) + encode([1, 2])), "column"),
        (block(b"l", b"D", 1, encode(("a", "a")) + encode([1]) * 2), "a key is there twice"),
        (block(b"l", b"D", 0, encode(()) + b"NNNN"), "the keys of a block"),
        (block(b"l", b"D", 0, encode((1,)) + b"NNNN"), "the keys of a block"),
        (block(b"l", b"l", 0, encode(-1) + b"NNNN"), "the width of a block"),
        (block(b"l", b"t", 0, encode(2**70) + b"NNNN"), "the width of a block"),
        (block(b"l", b"t", 1, encode(True) + encode([1])), "the width of a block"),
        (block(b"l", b"t", 1, encode(1) + encode((1,))), "column"),
        (block(b"l", b"L", 1, encode([2]) + encode([1])), "lengths"),
        (block(b"l", b"L", 2, encode([2, -1]) + encode([1])), "lengths"),
        (block(b"l", b"L", 1, encode([1.0]) + encode([1])), "lengths of a block"),
        (block(b"l", b"L", 2, encode([1]) + encode([1])), "a block of sequences"),
    ],
)
def test_what_encode_does_not_write_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Malformed, match=told):
        decode(data)


MANY = 200_000
LITTLE: dict[str, Callable[[], bytes]] = {
    "ints": lambda: encode([1] * MANY),
    "texts": lambda: encode(["a"] * MANY),
    "records": lambda: encode([{"a": True}] * MANY),
    "rows": lambda: encode([(True,)] * MANY),
    "empty lists": lambda: encode([[]] * MANY),
}


@pytest.mark.parametrize("make", LITTLE.values(), ids=LITTLE)
def test_little_that_becomes_much_is_refused(make: Callable[[], bytes]) -> None:
    with pytest.raises(TooLarge, match="more than 4194304 bytes of memory"):
        decode(make(), memory=4 << 20)


@pytest.mark.parametrize("make", LITTLE.values(), ids=LITTLE)
def test_decoding_ends_at_its_deadline(make: Callable[[], bytes]) -> None:
    data = make()
    with pytest.raises(TooSlow):
        decode(data, deadline=0.0)


def test_what_is_not_plain_is_named_with_its_place() -> None:
    with pytest.raises(NotData, match=r"^\[40\]\['b'\]: object is not plain data$"):
        encode([{"a": 1, "b": object() if n == 40 else n} for n in range(NUMBER)])


def test_what_is_in_itself_is_refused_at_once() -> None:
    itself: list[object] = []
    itself.extend([itself] * NUMBER)
    with pytest.raises(NotData, match="nested deeper than 100"):
        encode(itself)


def steps(function: Callable[[], object]) -> int:
    """How many functions it calls: that does not depend on the machine."""
    number = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal number
        number += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return number


@pytest.mark.parametrize("value", [[*range(100_000)], ["x"] * 100_000, [1.5] * 100_000])
def test_a_hundred_thousand_values_are_not_as_many_steps(value: list[object]) -> None:
    data = encode(value)
    assert steps(lambda: encode(value)) < 200
    assert steps(lambda: decode(data)) < 200


def numbers(count: int) -> list[int]:
    return [*range(count)]


@pytest.mark.parametrize("files", [True, False])
def test_a_million_numbers_come_back(files: bool) -> None:
    caller = nsenter.Caller(files=files, max_answer=1 << 27)
    assert caller.call(numbers, 1_000_000) == [*range(1_000_000)]
