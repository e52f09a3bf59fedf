"""TLS ClientHellos for tests: real ones of OpenSSL, ones made by hand, and what OpenSSL reads."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress

Extension = tuple[int, bytes]


def real(name: str | None) -> bytes:
    """Return the first record of OpenSSL's client."""
    context = ssl.create_default_context()
    context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("the handshake did not wait for an answer")


def what_openssl_reads(data: bytes) -> tuple[str | None] | None:
    """Return the server name that OpenSSL's server finds, or None if it refuses the hello."""
    found: list[str | None] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _, name, __: found.append(name)
    incoming = ssl.MemoryBIO()
    incoming.write(data)
    server = context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
    with suppress(ssl.SSLError, ValueError):
        server.do_handshake()
    return (found[0],) if found else None


def vector(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def server_name(*names: bytes, kind: int = 0) -> Extension:
    return 0, vector(2, b"".join(bytes([kind]) + vector(2, name) for name in names))


def hello(extensions: Iterable[Extension], *, more: bytes = b"") -> bytes:
    """Return a handshake message."""
    body = b"".join(kind.to_bytes(2, "big") + vector(2, content) for kind, content in extensions)
    suites = vector(2, b"\x0a\x0a\x13\x01\xc0\x2f")  # a GREASE value, and two real ones
    fields = b"\3\3" + bytes(32) + vector(1, bytes(32)) + suites + vector(1, b"\0")
    return b"\1" + vector(3, fields + vector(2, body) + more)


def records(message: bytes, sizes: Sequence[int] = ()) -> bytes:
    """Return a message in records of these sizes; the rest is in one more."""
    found = b""
    for size in (*sizes, len(message)):
        part, message = message[:size], message[size:]
        if part:
            found += b"\x16\3\1" + vector(2, part)
    return found
