# SPDX-License-Identifier: Apache-2.0
"""The server name of a TLS ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3).

The bytes come from the sandbox. The parser accepts one reading only: a hello that two parsers
could read differently, such as one with the same extension twice, is refused. A hello that
encrypts its server name (ECH) is refused as well: what cannot be read cannot be checked.
"""

from __future__ import annotations

from nsenter._sandbox.egress_rules import Refused

__all__ = ["LARGEST_HELLO", "HelloReader"]

LARGEST_HELLO = 16384  # bytes; post-quantum keys make hellos of about 2000
_LARGEST_RECORD = 16384
_RECORD_HEADER, _MESSAGE_HEADER = 5, 4
_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _HOST_NAME = 0, 0
# Encrypted Client Hello, the drafts of it, and the encrypted server name before that.
_ENCRYPTED = frozenset((0xFE0D, 0xFE0C, 0xFE0B, 0xFE0A, 0xFE09, 0xFE08, 0xFFCE))
_LONGEST_SESSION = 32


class HelloReader:
    """Reads a ClientHello from pieces of a stream."""

    def __init__(self) -> None:
        self._record = bytearray()  # a record that is not complete
        self._message = bytearray()

    def feed(self, data: bytes) -> tuple[str] | None:
        """Take the next bytes of the stream.

        Returns:
            None if the hello is not complete. Otherwise a tuple with its server name, which is ""
            if it has none.

        Raises:
            Refused: it is not a ClientHello, or one that the proxy does not accept.
        """
        self._record += data
        while len(self._record) >= _RECORD_HEADER:
            size = self._record_size()
            if len(self._record) < _RECORD_HEADER + size:
                return None
            self._message += self._record[_RECORD_HEADER : _RECORD_HEADER + size]
            del self._record[: _RECORD_HEADER + size]
            if self._is_complete():
                return (_server_name(bytes(self._message[_MESSAGE_HEADER:])),)
        if self._record and self._record[0] != _HANDSHAKE:
            raise Refused("the tunnel does not begin with a TLS ClientHello")
        return None

    def _record_size(self) -> int:
        kind, major = self._record[0], self._record[1]
        size = int.from_bytes(self._record[3:5], "big")
        if kind != _HANDSHAKE or major != 3:
            raise Refused("the tunnel does not begin with a TLS ClientHello")
        if not 0 < size <= _LARGEST_RECORD:
            raise Refused(f"the ClientHello has a record of {size} bytes")
        return size

    def _is_complete(self) -> bool:
        if self._message[0] != _CLIENT_HELLO:
            raise Refused("the tunnel does not begin with a TLS ClientHello")
        if len(self._message) < _MESSAGE_HEADER:
            return False
        size = int.from_bytes(self._message[1:4], "big")
        if size > LARGEST_HELLO:
            raise Refused(f"the ClientHello has {size} bytes, more than {LARGEST_HELLO}")
        if len(self._message) > _MESSAGE_HEADER + size:
            raise Refused("there is more in the ClientHello's record than the ClientHello")
        return len(self._message) == _MESSAGE_HEADER + size


class _Bytes:
    """Reads fields from bytes, and refuses to read past their end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._data):
            raise Refused("the ClientHello is malformed: a length leads past its end")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        """Return bytes that have their length, a number of `size` bytes, in front of them."""
        return self.take(self.number(size))

    def has_more(self) -> bool:
        return self._at < len(self._data)


def _server_name(body: bytes) -> str:
    hello = _Bytes(body)
    hello.take(2 + 32)  # the legacy version and the random
    if len(hello.vector(1)) > _LONGEST_SESSION:
        raise Refused("the ClientHello is malformed: the session id is too long")
    suites = hello.vector(2)
    if not suites or len(suites) % 2:
        raise Refused("the ClientHello is malformed: the list of cipher suites")
    if not hello.vector(1):
        raise Refused("the ClientHello is malformed: the list of compression methods")
    if not hello.has_more():
        return ""
    extensions = hello.vector(2)
    if hello.has_more():
        raise Refused("the ClientHello is malformed: there is more after the extensions")
    return _in_extensions(extensions)


def _in_extensions(data: bytes) -> str:
    extensions = _Bytes(data)
    seen: set[int] = set()
    name = ""
    while extensions.has_more():
        kind = extensions.number(2)
        content = extensions.vector(2)
        if kind in seen:
            raise Refused(f"the ClientHello has extension {kind} twice")
        seen.add(kind)
        if kind in _ENCRYPTED:
            raise Refused("the ClientHello encrypts the server name (ECH)")
        if kind == _SERVER_NAME:
            name = _in_list(content)
    return name


def _in_list(content: bytes) -> str:
    outer = _Bytes(content)
    entries = _Bytes(outer.vector(2))
    kind, name = entries.number(1), entries.vector(2)
    if kind != _HOST_NAME or entries.has_more() or outer.has_more():
        raise Refused("the ClientHello must have one server name, which is a host name")
    try:
        text = name.decode("ascii")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise Refused("the server name of the ClientHello is not ASCII text")
    return text
