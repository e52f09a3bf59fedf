# SPDX-License-Identifier: Apache-2.0
"""Heads of HTTP/1.1 messages (RFC 9112), read strictly and written anew.

The proxy sends a head that it has written itself, never the bytes that it got. So there is nothing
in a request that the server could read differently from the proxy: no bare CR or LF, no folded
line, no second length, no second Host. General parsers, h11 among them, are made to be tolerant:
they accept a bare LF, and a Transfer-Encoding together with a Content-Length.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nsenter._sandbox.egress_rules import Host, Refused, parse_target, shown

__all__ = ["Headers", "Request", "Response", "chunk_size", "parse_request", "parse_response"]

Headers = tuple[tuple[str, str], ...]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]+")  # visible characters, without "#"
_VERSIONS = {b"HTTP/1.1": 1, b"HTTP/1.0": 0}
_HTTP_PORT = 80
_MOST_HEADERS = 200
_LARGEST_LENGTH = 18  # digits
# They belong to one connection (RFC 9110, section 7.6.1), so the proxy does not pass them on.
_OF_CONNECTION = frozenset(
    (
        *("connection", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    )
)
# A client must not name these as belonging to the connection.
_NEVER_DROPPED = frozenset(("content-length", "host", "transfer-encoding"))


class Request(NamedTuple):
    """A request that is well-formed.

    Args:
        method: as the client spells it.
        host, port: what the client asks for.
        head: what is sent to the server; empty for CONNECT.
        length: the bytes of the body; None if it is in chunks.
        is_persistent: whether the client waits for its next request on the same connection.
        version: 1 for HTTP/1.1, and 0 for HTTP/1.0.
    """

    method: str
    host: Host
    port: int
    head: bytes
    length: int | None
    is_persistent: bool
    version: int


def parse_request(head: bytes) -> Request:
    """Return the request of a head, which ends with an empty line.

    Raises:
        Refused: it is malformed, is ambiguous, or asks for what the proxy does not do.
    """
    line, headers = _split(head)
    words = line.split(b" ")
    if len(words) != 3 or not _TOKEN.fullmatch(words[0]) or not _TARGET.fullmatch(words[1]):
        raise Refused("the request line is malformed")
    version = _VERSIONS.get(words[2])
    if version is None:
        raise Refused("the request is not HTTP/1.1 or HTTP/1.0")
    method, target = words[0].decode(), words[1].decode()
    if _values(headers, "upgrade") or "upgrade" in _tokens(headers, "connection"):
        raise Refused("the request asks for another protocol (Upgrade)")
    length = _length_of(headers, version)
    if method == "CONNECT":
        return _connect(target, headers, length, version)
    return _plain(method, target, headers, length, version)


def _connect(target: str, headers: Headers, length: int | None, version: int) -> Request:
    if length != 0:
        raise Refused("a CONNECT request must not have a body")
    host, port = parse_target(target)
    # Clients differ in whether Host has the port, whatever the port is.
    _check_host(headers, host, port, port, version)
    return Request("CONNECT", host, port, b"", 0, False, version)


def _plain(method: str, target: str, headers: Headers, length: int | None, version: int) -> Request:
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() != "http":
        raise Refused('a request to the proxy must be CONNECT, or for a URL with "http://"')
    slash = min((rest.index(mark) for mark in "/?" if mark in rest), default=len(rest))
    authority, path = rest[:slash], rest[slash:]
    if "@" in authority:
        raise Refused("the URL has a user in it")
    host, port = parse_target(authority, _HTTP_PORT)
    _check_host(headers, host, port, _HTTP_PORT, version)
    if not path.startswith("/"):
        path = "*" if method == "OPTIONS" and not path else f"/{path}"
    lines = [f"{method} {path} HTTP/1.1", f"Host: {_authority(host, port)}"]
    lines += (f"{name}: {value}" for name, value in _passed_on(headers) if not _is(name, "host"))
    lines += ["Transfer-Encoding: chunked"] if length is None else []
    lines.append("Connection: close")
    is_persistent = _is_persistent(headers, version)
    return Request(method, host, port, _encode(lines), length, is_persistent, version)


def _authority(host: Host, port: int) -> str:
    text = shown(host, port)
    return text.removesuffix(f":{_HTTP_PORT}") if port == _HTTP_PORT else text


def _check_host(headers: Headers, host: Host, port: int, default: int, version: int) -> None:
    given = _values(headers, "host")
    if not given and version == 0:
        return
    if len(given) != 1:
        raise Refused(f"the request has {len(given)} Host headers")
    if parse_target(given[0], default) != (host, port):
        raise Refused(f"Host is {given[0][:100]!a}, but the request is for {shown(host, port)}")


def _length_of(headers: Headers, version: int) -> int | None:
    """Return the length of a request's body; None if it comes in chunks."""
    lengths, codings = _values(headers, "content-length"), _values(headers, "transfer-encoding")
    if codings:
        if lengths:
            raise Refused("the request has both Transfer-Encoding and Content-Length")
        if version == 0 or len(codings) != 1 or codings[0].lower() != "chunked":
            raise Refused("Transfer-Encoding must be chunked, once, in HTTP/1.1")
        return None
    if not lengths:
        return 0
    if len(lengths) != 1:
        raise Refused(f"the request has {len(lengths)} Content-Length headers")
    if not _is_length(lengths[0]):
        raise Refused("Content-Length is not a number")
    return int(lengths[0])


def _is_length(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _LARGEST_LENGTH


class Response(NamedTuple):
    """The head of a response.

    Args:
        status: its number.
        headers: those that are passed on.
        reason: the text of the status line.
        length: the bytes of the body, None if its end is that of the connection, -1 if it comes in
            chunks.
    """

    status: int
    reason: str
    headers: Headers
    length: int | None

    def encoded(self, *, chunked: bool, close: bool) -> bytes:
        """Return the head for the client."""
        lines = [f"HTTP/1.1 {self.status:03} {self.reason}"]
        lines += (f"{name}: {value}" for name, value in self.headers)
        lines += ["Transfer-Encoding: chunked"] if chunked else []
        lines += ["Connection: close"] if close else []
        return _encode(lines)


_STATUS = re.compile(rb"HTTP/1\.[0-9] ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")


def parse_response(head: bytes, method: str) -> Response:
    """Return the response of a head, which ends with an empty line.

    Raises:
        Refused: it is malformed, or changes the protocol.
    """
    line, headers = _split(head)
    found = _STATUS.fullmatch(line)
    if not found:
        raise Refused("the server's status line is malformed")
    status = int(found[1])
    if status == 101:
        raise Refused("the server changes the protocol")
    length = _response_length(headers, status, method)
    kept = tuple(_passed_on(headers))
    if length is None or length == -1:  # the server's length, if there is one, is not the body's
        kept = tuple((name, value) for name, value in kept if not _is(name, "content-length"))
    return Response(status, (found[2] or b"").decode("latin-1"), kept, length)


def _response_length(headers: Headers, status: int, method: str) -> int | None:
    if method == "HEAD" or status < 200 or status in (204, 304):
        return 0
    codings = ",".join(_values(headers, "transfer-encoding")).lower()
    if codings:
        if codings != "chunked":
            raise Refused("the server's Transfer-Encoding is not chunked")
        return -1
    lengths = set(_values(headers, "content-length"))
    if not lengths:
        return None
    if len(lengths) != 1 or not all(map(_is_length, lengths)):
        raise Refused("the server's Content-Length is malformed")
    return int(lengths.pop())


def chunk_size(line: bytes) -> int:
    """Return the size of the chunk that follows a line (RFC 9112, section 7.1).

    Args:
        line: ends with CR LF.

    Raises:
        Refused: the line is malformed. Chunk extensions are refused: nobody uses them, except to
            hide a request in another.
    """
    digits = line[:-2]
    if not line.endswith(b"\r\n") or not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
        raise Refused("the size of a chunk is malformed")
    return int(digits, 16)


def _split(head: bytes) -> tuple[bytes, Headers]:
    if not head.endswith(b"\r\n\r\n"):
        raise Refused("the head does not end with an empty line")
    line, *rows = head[:-4].split(b"\r\n")
    if len(rows) > _MOST_HEADERS:
        raise Refused(f"there are {len(rows)} headers, more than {_MOST_HEADERS}")
    return line, tuple(map(_header, rows))


def _header(row: bytes) -> tuple[str, str]:
    name, colon, value = row.partition(b":")
    if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise Refused(f"the header {ascii(row[:60])[1:]} is malformed")
    return name.decode(), value.strip(b" \t").decode("latin-1")


def _values(headers: Headers, name: str) -> list[str]:
    return [value for own, value in headers if _is(own, name)]


def _is(name: str, lower: str) -> bool:
    return name.lower() == lower


def _tokens(headers: Headers, name: str) -> set[str]:
    lists = (value.lower().split(",") for value in _values(headers, name))
    return {token.strip(" \t") for tokens in lists for token in tokens}


def _is_persistent(headers: Headers, version: int) -> bool:
    tokens = _tokens(headers, "connection") | _tokens(headers, "proxy-connection")
    return version == 1 and "close" not in tokens


def _passed_on(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers without those of the connection."""
    named = _tokens(headers, "connection")
    if named & _NEVER_DROPPED:
        raise Refused("Connection names a header that says where the message ends or goes")
    dropped = _OF_CONNECTION | named
    return [(name, value) for name, value in headers if name.lower() not in dropped]


def _encode(lines: list[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
