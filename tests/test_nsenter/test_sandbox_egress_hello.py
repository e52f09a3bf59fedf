"""The server name of a ClientHello is what a TLS server would read, or the hello is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hellos import hello, real, records, server_name, vector, what_openssl_reads
from nsenter._sandbox.egress_hello import LARGEST_HELLO, HelloReader
from nsenter._sandbox.egress_rules import Refused

NAME = "good.example.org"
REAL = real(NAME)
MESSAGE = REAL[5:]


def read(data: bytes) -> tuple[str] | None:
    return HelloReader().feed(data)


def read_in_pieces(data: bytes, size: int) -> tuple[str] | None:
    reader = HelloReader()
    for start in range(0, len(data), size):
        found = reader.feed(data[start : start + size])
        if found is not None:
            return found
    return None


@pytest.mark.parametrize("name", [NAME, "a.b", "x" * 63 + ".example"])
def test_the_name_in_a_hello_of_openssl(name: str) -> None:
    assert read(real(name)) == (name,)


def test_a_hello_without_a_name() -> None:
    assert read(real(None)) == ("",)
    assert read(records(hello([]))) == ("",)
    assert read(records(b"\1" + vector(3, MESSAGE[4 : 4 + 2 + 32] + b"\0\0\2\x13\1\1\0"))) == ("",)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 100])
def test_a_hello_in_segments(size: int) -> None:
    assert read_in_pieces(REAL, size) == (NAME,)


@given(st.lists(st.integers(1, 200), max_size=20), st.integers(1, 300))
def test_a_hello_in_records_and_segments(sizes: list[int], size: int) -> None:
    assert read_in_pieces(records(MESSAGE, sizes), size) == (NAME,)


def test_a_hello_in_records_of_one_byte() -> None:
    assert read_in_pieces(records(MESSAGE, [1] * len(MESSAGE)), 1) == (NAME,)


def test_bytes_that_follow_the_hello_do_not_matter() -> None:
    change_cipher_spec = b"\x14\3\3\0\1\1"
    assert read(REAL + change_cipher_spec + b"early data") == (NAME,)


def test_grease_is_passed_over() -> None:
    grease = [(0x0A0A, b""), server_name(NAME.encode()), (0xFAFA, b"\0")]
    assert read(records(hello(grease))) == (NAME,)


@pytest.mark.parametrize("kind", [0xFE0D, 0xFE0A, 0xFFCE])
@pytest.mark.parametrize("inner", [b"", b"\1", b"\0" + bytes(60)])
def test_an_encrypted_hello_is_refused(kind: int, inner: bytes) -> None:
    for extensions in ([server_name(NAME.encode()), (kind, inner)], [(kind, inner)]):
        with pytest.raises(Refused, match="encrypts the server name"):
            read(records(hello(extensions)))


REFUSED = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing but zeros": bytes(100),
    "SSL 2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "an alert first": b"\x15\3\1\0\2\1\0" + REAL,
    "a ServerHello": records(b"\2" + MESSAGE[1:]),
    "an empty record": b"\x16\3\1\0\0" + REAL,
    "a record that is too large": b"\x16\3\1\x40\x01" + bytes(0x4001),
    "a message that is too large": records(b"\1" + (LARGEST_HELLO + 1).to_bytes(3, "big")),
    "more in the record": records(MESSAGE + b"\1\0\0\0"),
    "more behind the extensions": records(hello([server_name(NAME.encode())], more=b"\0")),
    "two names": records(hello([server_name(NAME.encode(), b"evil.example")])),
    "the extension twice": records(hello([server_name(NAME.encode())] * 2)),
    "two different ones": records(hello([server_name(b"evil.example"), server_name(b"b.c")])),
    "another extension twice": records(hello([(10, b""), (10, b"")])),
    "a name of another kind": records(hello([server_name(NAME.encode(), kind=1)])),
    "an empty name": records(hello([server_name(b"")])),
    "an empty list": records(hello([(0, b"\0\0")])),
    "an empty extension": records(hello([(0, b"")])),
    "more behind the list": records(hello([(0, server_name(b"a.b")[1] + b"\0")])),
    "a name that is not ASCII": records(hello([server_name("gööd.example".encode())])),
    "a length past the end": records(hello([(0, b"\0\x20\0\0\x1dgood.example.org")])),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(Refused):
        read_in_pieces(data, len(data))
    with pytest.raises(Refused):
        read_in_pieces(data, 1)


@given(st.binary(max_size=600))
@example(b"\x16\3\1\0\4\1\0\0\0")
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for text in (data, b"\x16\3\1" + vector(2, data), records(b"\1" + vector(3, data))):
        try:
            found = read(text)
        except Refused:
            continue
        assert found is None or what_openssl_reads(text) in (None, (found[0] or None,))


PLACES = st.one_of(st.integers(0, 60), st.integers(0, len(REAL) - 1))
CHANGES = st.lists(st.tuples(PLACES, st.integers(0, 255)), min_size=1, max_size=4)


@given(CHANGES)
def test_openssl_reads_no_other_name_in_a_hello_that_was_changed(
    changes: list[tuple[int, int]],
) -> None:
    data = bytearray(REAL)
    for place, byte in changes:
        data[place] = byte
    try:
        found = read(bytes(data))
    except Refused:
        return
    if found is not None:
        assert what_openssl_reads(bytes(data)) in (None, (found[0] or None,))


@given(st.integers(0, len(NAME) - 1), st.integers(0, 255))
def test_a_changed_name_is_another_name(place: int, byte: int) -> None:
    at = REAL.index(NAME.encode()) + place
    data = REAL[:at] + bytes([byte]) + REAL[at + 1 :]
    try:
        found = read(data)
    except Refused:
        return
    assert found is not None
    assert (found[0] == NAME) == (data == REAL)
