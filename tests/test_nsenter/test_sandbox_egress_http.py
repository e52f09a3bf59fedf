"""Heads of requests have one reading, or are refused; what is sent on is written anew."""

from __future__ import annotations

import http.client
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsenter._sandbox.egress_http import (
    Request,
    chunk_size,
    parse_request,
    parse_response,
)
from nsenter._sandbox.egress_rules import Refused, shown

HOST = "good.example.org"
CODING = "Transfer-Encoding"


def head(*lines: str, target: str = f"http://{HOST}/a?b", host: str | None = HOST) -> bytes:
    own = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([f"GET {target} HTTP/1.1", *own, *lines, "", ""]).encode("latin-1")


def connect(target: str, *lines: str) -> bytes:
    return "\r\n".join([f"CONNECT {target} HTTP/1.1", *lines, "", ""]).encode("latin-1")


def fields(text: bytes) -> list[tuple[str, str]]:
    """The headers as Python's own parser reads them."""
    return [*http.client.parse_headers(io.BytesIO(text.partition(b"\r\n")[2])).items()]


def test_a_request_is_written_anew() -> None:
    request = parse_request(
        head("Accept: */*", "Proxy-Connection: keep-alive", "Connection: X-Own, keep-alive",
             "X-Own: 1", "Proxy-Authorization: Basic eA==", "TE: trailers", "X-Other:  \t2 \t")
    )  # fmt: skip
    assert (request.method, request.host, request.port) == ("GET", HOST, 80)
    assert request.head == (
        b"GET /a?b HTTP/1.1\r\nHost: good.example.org\r\nAccept: */*\r\nX-Other: 2\r\n"
        b"Connection: close\r\n\r\n"
    )
    assert request.length == 0
    assert request.is_persistent


@pytest.mark.parametrize(
    ("target", "host", "line", "sent"),
    [
        (f"http://{HOST}", HOST, "GET /", HOST),
        (f"http://{HOST}:80/", HOST, "GET /", HOST),
        (f"http://{HOST}/", f"{HOST}:80", "GET /", HOST),
        (f"http://{HOST}:8080/", f"{HOST}:8080", "GET /", f"{HOST}:8080"),
        (f"HTTP://{HOST.upper()}?x=/", HOST, "GET /?x=/", HOST),
        ("http://[::1]:8080/x", "[::1]:8080", "GET /x", "[::1]:8080"),
        ("http://192.0.2.1/x", "192.0.2.1", "GET /x", "192.0.2.1"),
        (f"http://{HOST}//evil.example/", HOST, "GET //evil.example/", HOST),
    ],
)
def test_the_target_and_host(target: str, host: str, line: str, sent: str) -> None:
    lines = parse_request(head(target=target, host=host)).head.decode().split("\r\n")
    assert lines[:2] == [f"{line} HTTP/1.1", f"Host: {sent}"]


def test_bodies() -> None:
    assert parse_request(head("Content-Length: 12")).length == 12
    request = parse_request(head("Transfer-Encoding: Chunked"))
    assert request.length is None
    assert b"\r\nTransfer-Encoding: chunked\r\n" in request.head


def test_connections_that_end() -> None:
    assert not parse_request(head("Connection: Close")).is_persistent
    assert not parse_request(head("Proxy-Connection: close")).is_persistent
    old = head().replace(b"HTTP/1.1", b"HTTP/1.0")
    assert not parse_request(old).is_persistent
    without = old.replace(b"Host: good.example.org\r\n", b"")
    assert parse_request(without).head.startswith(
        b"GET /a?b HTTP/1.1\r\nHost: good.example.org\r\n"
    )


@pytest.mark.parametrize("lines", [(), ("Host: a.example:443",), ("Host: a.example",)])
def test_connect(lines: tuple[str, ...]) -> None:
    if lines:
        request = parse_request(connect("a.example:443", *lines))
        assert request == Request("CONNECT", "a.example", 443, b"", 0, False, 1)
    else:
        with pytest.raises(Refused, match="0 Host headers"):
            parse_request(connect("a.example:443"))


REFUSED = {
    "another host": head(host="evil.example"),
    "another port": head(host=f"{HOST}:8080"),
    "another host for CONNECT": connect("a.example:443", "Host: b.example:443"),
    "another port for CONNECT": connect("a.example:443", "Host: a.example:80"),
    "two hosts": head("Host: evil.example"),
    "the host twice": head(f"Host: {HOST}"),
    "two in another case": head("hOST: evil.example"),
    "no host": head(host=None),
    "an empty host": head(host=""),
    "two in one": head(host=f"{HOST}, evil.example"),
    "a host with a path": head(host=f"{HOST}/evil.example"),
    "a host with a dot": head(host=f"{HOST}."),
    "a user": head(target=f"http://user@{HOST}/"),
    "a user that looks like a host": head(target=f"http://{HOST}@evil.example/", host=HOST),
    "a backslash": head(target=f"http://evil.example\\@{HOST}/"),
    "a fragment": head(target=f"http://{HOST}/#x"),
    "a space in the target": head(target=f"http://{HOST}/a b"),
    "a tab in the target": head(target=f"http://{HOST}/a\tb"),
    "no host in the URL": head(target="http:///a"),
    "the path alone": head(target="/a"),
    "the authority alone": head(target=HOST),
    "https": head(target=f"https://{HOST}/"),
    "ftp": head(target=f"ftp://{HOST}/"),
    "CONNECT without a port": connect("a.example", "Host: a.example"),
    "CONNECT with a path": connect("a.example:443/x", "Host: a.example"),
    "CONNECT with a URL": connect("http://a.example:443", "Host: a.example"),
    "CONNECT with a body": connect("a.example:443", "Host: a.example", "Content-Length: 3"),
    "CONNECT with chunks": connect("a.example:443", "Host: a.example", f"{CODING}: chunked"),
    "CONNECT in lower case": connect("a.example:443", "Host: a.example").replace(b"CONN", b"conn"),
    "Upgrade": head("Upgrade: h2c"),
    "Upgrade of a WebSocket": head("Connection: Upgrade", "Upgrade: websocket"),
    "Connection with upgrade alone": head("Connection: keep-alive, UPGRADE"),
    "Upgrade in CONNECT": connect("a.example:443", "Host: a.example", "Upgrade: x"),
    "two lengths": head("Content-Length: 3", "Content-Length: 4"),
    "the length twice": head("Content-Length: 3", "Content-Length: 3"),
    "a list of lengths": head("Content-Length: 3, 3"),
    "a signed length": head("Content-Length: +3"),
    "a negative length": head("Content-Length: -3"),
    "a hexadecimal length": head("Content-Length: 0x3"),
    "a length with an underscore": head("Content-Length: 1_0"),
    "a length in other digits": head("Content-Length: \xb2"),
    "no length": head("Content-Length:"),
    "a length that is too long": head(f"Content-Length: {'9' * 19}"),
    "both": head("Content-Length: 3", "Transfer-Encoding: chunked"),
    "both, in the other order": head("Transfer-Encoding: chunked", "Content-Length: 3"),
    "another coding": head("Transfer-Encoding: gzip"),
    "two codings": head("Transfer-Encoding: gzip, chunked"),
    "chunked twice": head("Transfer-Encoding: chunked, chunked"),
    "two headers with a coding": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "no coding": head("Transfer-Encoding:"),
    "a coding with a vertical tab": head("Transfer-Encoding: \x0bchunked"),
    "a space before the colon": head("Transfer-Encoding : chunked"),
    "a tab before the colon": head("Content-Length\t: 3"),
    "a folded line": head("X-A: 1", " Transfer-Encoding: chunked"),
    "a folded first line": head(" X-A: 1"),
    "a bare LF": head("X-A: 1\nTransfer-Encoding: chunked"),
    "a bare CR": head("X-A: 1\rTransfer-Encoding: chunked"),
    "a NUL": head("X-A: 1\0"),
    "a control character": head("X-A: \x1b"),
    "DEL": head("X-A: \x7f"),
    "no colon": head("X-A"),
    "no name": head(": 1"),
    "a name with a space": head("X A: 1"),
    "a name that is not ASCII": head("X-\xe4: 1"),
    "Connection drops Host": head("Connection: host"),
    "Connection drops the length": head("Content-Length: 3", "Connection: close, Content-Length"),
    "Connection drops the coding": head(f"{CODING}: chunked", f"Connection: {CODING}"),
    "too many headers": head(*["A: 1"] * 300),
    "HTTP/0.9": b"GET http://good.example.org/\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "another version": head().replace(b"HTTP/1.1", b"HTTP/1.2"),
    "a version in lower case": head().replace(b"HTTP/1.1", b"http/1.1"),
    "two spaces": head().replace(b"GET ", b"GET  "),
    "a space at the end": head().replace(b"HTTP/1.1", b"HTTP/1.1 "),
    "a tab": head().replace(b"GET ", b"GET\t"),
    "an empty line first": b"\r\n" + head(),
    "a method that is no token": head().replace(b"GET", b"G(T"),
    "chunks in HTTP/1.0": head("Transfer-Encoding: chunked").replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no end": head()[:-2],
    "a TLS hello": b"\x16\3\1\0\4\1\0\0\0\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(text: bytes) -> None:
    with pytest.raises(Refused) as caught:
        parse_request(text)
    assert str(caught.value).isprintable()


def check(text: bytes) -> None:
    """What is accepted has one reading, and what is sent on has the same."""
    try:
        request = parse_request(text)
    except Refused as error:
        assert str(error).isprintable()
        return
    if request.method == "CONNECT":
        assert not request.head
        return
    sent = request.head
    assert sent.endswith(b"\r\n\r\n")
    assert sent.count(b"\r\n\r\n") == 1
    assert sent.count(b"\r") == sent.count(b"\n") == sent.count(b"\r\n")
    assert b"\0" not in sent
    assert sent.partition(b"\r\n")[0].count(b" ") == 2
    found = [(name.lower(), value) for name, value in fields(sent)]
    authority = shown(request.host, request.port).removesuffix(":80")
    assert [value for name, value in found if name == "host"] == [authority]
    assert [value for name, value in found if name == "connection"] == ["close"]
    lengths = [value for name, value in found if name == "content-length"]
    codings = [value for name, value in found if name == "transfer-encoding"]
    if request.length is None:
        assert (lengths, codings) == ([], ["chunked"])
    else:
        assert not codings
        assert [*map(int, lengths)] in ([], [request.length])
        assert not request.length or lengths
    assert not {"upgrade", "proxy-connection", "te", "keep-alive"} & {name for name, _ in found}


@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    check(data)
    check(data + b"\r\n\r\n")


PIECES = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"chunked", b"close", b"3",
     b": ", b":", b"\r\n", b"\n", b"\r", b" ", b"\t", b",", b"\0", b"good.example.org", b"http://",
     b"evil.example", b"/", b"@", b"GET", b"CONNECT", b" HTTP/1.1", b"443", b"Upgrade"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=30).map(b"".join))
def test_any_words(data: bytes) -> None:
    check(data + b"\r\n\r\n")
    check(head()[:-2] + data + b"\r\n\r\n")


@given(
    st.sampled_from([head("Content-Length: 3"), head(f"{CODING}: chunked"), *REFUSED.values()]),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), st.binary(max_size=3)), max_size=4),
)  # fmt: skip
def test_a_request_that_was_changed(text: bytes, changes: list[tuple[int, int, bytes]]) -> None:
    for at, removed, added in changes:
        text = text[:at] + added + text[at + removed :]
    check(text)


def test_answers() -> None:
    def answer(*lines: str, method: str = "GET") -> object:
        response = parse_response("\r\n".join([*lines, "", ""]).encode(), method)
        return response.status, response.length

    assert answer("HTTP/1.1 200 OK", "Content-Length: 5") == (200, 5)
    assert answer("HTTP/1.1 200 OK", "Content-Length: 5", method="HEAD") == (200, 0)
    assert answer("HTTP/1.1 204 No Content") == (204, 0)
    assert answer("HTTP/1.1 304 Not Modified", "Content-Length: 5") == (304, 0)
    assert answer("HTTP/1.1 100 Continue") == (100, 0)
    assert answer("HTTP/1.0 200") == (200, None)
    assert answer("HTTP/1.1 200 OK", "Transfer-Encoding: chunked", "Content-Length: 5") == (200, -1)
    for lines in (
        ("HTTP/1.1 101 Switching Protocols", "Upgrade: x"),
        ("HTTP/2 200",),
        ("HTTP/1.1 20 OK",),
        ("hello",),
        ("HTTP/1.1 200 OK", "Content-Length: x"),
        ("HTTP/1.1 200 OK", "Content-Length: 3", "Content-Length: 4"),
        ("HTTP/1.1 200 OK", "Transfer-Encoding: gzip"),
    ):
        with pytest.raises(Refused):
            answer(*lines)


def test_an_answer_is_written_anew() -> None:
    text = b"HTTP/1.0 200 Fine\r\nX-A: 1\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n"
    response = parse_response(text, "GET")
    assert response.encoded(chunked=False, close=False) == (
        b"HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 5\r\n\r\n"
    )
    assert response.encoded(chunked=False, close=True).endswith(b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize(("line", "size"), [(b"0\r\n", 0), (b"1aF\r\n", 0x1AF), (b"000\r\n", 0)])
def test_sizes_of_chunks(line: bytes, size: int) -> None:
    assert chunk_size(line) == size


@pytest.mark.parametrize(
    "line",
    [b"", b"\r\n", b"0x3\r\n", b"+3\r\n", b"-1\r\n", b" 3\r\n", b"3 \r\n", b"3;a=b\r\n", b"3\n",
     b"3\r", b"3;\r\n", b"3\n\r\n", b"1_0\r\n", b"g\r\n", b"1" * 16 + b"\r\n"],
)  # fmt: skip
def test_sizes_of_chunks_that_are_refused(line: bytes) -> None:
    with pytest.raises(Refused):
        chunk_size(line)


@given(st.binary(max_size=20))
def test_any_line_between_chunks(line: bytes) -> None:
    try:
        assert chunk_size(line) >= 0
    except Refused:
        assert not (line[:-2].isdigit() and len(line) < 18 and line.endswith(b"\r\n"))
