# SPDX-License-Identifier: Apache-2.0
"""The HTTP proxy of a sandbox: CONNECT for TLS, and plain HTTP.

It runs outside the sandbox, in a process of its own, and serves a listening socket that was made
inside. What it reads comes from hostile code. A request is served only if every check passes; an
error of any kind, one of the proxy's own included, ends the connection.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from typing import NamedTuple

from nsenter._sandbox.egress_addresses import why_not_elsewhere
from nsenter._sandbox.egress_hello import HelloReader
from nsenter._sandbox.egress_http import (
    Request,
    Response,
    chunk_size,
    parse_request,
    parse_response,
)
from nsenter._sandbox.egress_rules import Address, Host, Refused, Rules, canonical, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["Limits", "serve"]

_LARGEST_HEAD = 16384
_PIECE = 65536
_HEAD_SECONDS = 10.0  # for a head or a ClientHello, from its first byte to its last
_CONNECT_SECONDS = 10.0
_RESOLVE_SECONDS = 20.0
_LINGER_SECONDS = 1.0
_RESOLVERS = 4  # threads: getaddrinfo(3) blocks
_MOST_REFUSALS = 1000
_LONGEST_REASON = 300
_CONTINUE = 100
_ALERT = bytes((21, 3, 1, 0, 2, 2, 49))  # TLS: fatal, access_denied
_REASONS = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}


class Limits(NamedTuple):
    """How much one run may use: connections at a time, and seconds without a byte."""

    connections: int
    idle: float


class _Failed(Exception):
    """The server cannot be reached, or does not speak HTTP. This is not a refusal."""


class _Run:
    """One listening socket, its connections, and what was refused to them."""

    def __init__(self, rules: Rules, limits: Limits) -> None:
        self.rules = rules
        self.limits = limits
        self.tasks: set[asyncio.Task[None]] = set()
        self._refused: list[tuple[float, str, str, str]] = []
        self._more = 0

    def refuse(self, client: str, target: str, why: str) -> None:
        """Note a refusal; only count it if there are too many."""
        if len(self._refused) >= _MOST_REFUSALS:
            self._more += 1
            return
        cut = (text[:_LONGEST_REASON] for text in (client, target, why))
        self._refused.append((time.time(), *cut))  # type: ignore[arg-type]

    def report(self) -> bytes:
        """Return what the caller of the sandbox reads."""
        return json.dumps({"refused": self._refused, "more": self._more}).encode()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until it ends."""
        task = asyncio.current_task()
        assert task
        self.tasks.add(task)
        connection = _Connection(self, reader, writer)
        try:
            if len(self.tasks) <= self.limits.connections:
                await connection.serve()
            else:
                await connection.turn_away(len(self.tasks) <= 2 * self.limits.connections)
            await _close(writer, self.limits.idle)
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


class _Connection:
    """One connection of the sandbox to the proxy."""

    def __init__(
        self, run: _Run, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._run = run
        self._reader = reader
        self._writer = writer
        self._target = ""
        self._has_answer = False  # the client has a part of the server's answer
        self._timer: asyncio.Timeout | None = None
        self._head_seconds = min(_HEAD_SECONDS, run.limits.idle)
        host, port = (writer.get_extra_info("peername") or ("?", 0))[:2]
        self._client = f"{host}:{port}"

    async def turn_away(self, with_answer: bool) -> None:
        """Refuse a connection that is one too many."""
        why = f"more than {self._run.limits.connections} connections at a time"
        self._run.refuse(self._client, "", why)
        if with_answer:
            await self._answer(503, why)

    async def serve(self) -> None:
        """Serve requests until the connection ends; note what is refused."""
        try:
            while await self._next_request():
                pass
        except Refused as refused:
            self._run.refuse(self._client, self._target, str(refused))
            await self._answer(403, str(refused))
        except _Failed as failed:
            await self._answer(502, str(failed))
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # one of the two sides has ended the connection, or says nothing more
        except Exception as error:  # a mistake in the proxy must not let anything through
            self._run.refuse(self._client, self._target, f"the proxy failed: {error!r}")

    async def _answer(self, status: int, why: str) -> None:
        """Send an error, and wait a moment until the client has read it."""
        if self._has_answer:  # the client would read this as a part of the server's answer
            self._writer.transport.abort()
            return
        text = f"{why}\n".encode(errors="replace")
        head = (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
            f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        )
        await self._last_words(head.encode() + text)

    async def _last_words(self, data: bytes) -> None:
        # If bytes of the client are unread, close(2) would reset the connection, and the client
        # might never see the answer.
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                self._writer.write(data)
                self._writer.write_eof()
                while await self._reader.read(_PIECE):
                    pass
        except (OSError, TimeoutError):
            pass

    # ---- requests

    async def _next_request(self) -> bool:
        """Serve one request, and return whether there may be another one."""
        self._target, self._has_answer = "", False
        head = await self._read_head()
        if not head:
            return False
        self._target = _first_words(head)
        request = parse_request(head)
        self._target = shown(request.host, request.port)
        server_reader, server_writer = await self._connect(request.host, request.port)
        try:
            if request.method == "CONNECT":
                await self._tunnel(request.host, server_reader, server_writer)
                return False
            return await self._exchange(request, server_reader, server_writer)
        finally:
            server_writer.transport.abort()

    async def _read_head(self) -> bytes:
        """Return the next head, or b"" if the client asks for nothing more."""
        async with asyncio.timeout(self._run.limits.idle):
            first = await self._reader.read(1)
        if not first:
            return b""
        try:
            async with asyncio.timeout(self._head_seconds):
                return first + await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            raise Refused(f"the head has more than {_LARGEST_HEAD} bytes") from None
        except TimeoutError:
            raise Refused(f"the head was not complete after {self._head_seconds:g} s") from None

    # ---- the server

    async def _connect(
        self, host: Host, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to an address that was checked: a name is resolved once."""
        if not self._run.rules.allows(host, port):
            raise Refused(f"{shown(host, port)} is not allowed")
        addresses = [host] if not isinstance(host, str) else await _resolve(host)
        checked, reasons = [], []
        for address in addresses:
            why = _why_refused(address, port, self._run.rules)
            reasons.append(why) if why else checked.append(address)
        if not checked:
            raise Refused(f"{host}: {reasons[0]}")
        return await _connect_to_any(checked, port)

    # ---- CONNECT

    async def _tunnel(
        self, host: Host, server: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> None:
        self._writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            first = await self._checked_hello(host)
        except Refused as refused:
            self._run.refuse(self._client, self._target, str(refused))
            await self._last_words(_ALERT)
            return
        to_server.write(first)
        async with asyncio.timeout(self._run.limits.idle) as self._timer:
            up = asyncio.create_task(self._pump(self._reader, to_server))
            down = asyncio.create_task(self._pump(server, self._writer))
            await _both(up, down)
        await _close(to_server, self._run.limits.idle)

    async def _checked_hello(self, host: Host) -> bytes:
        """Return the first bytes of the tunnel, a ClientHello for this host."""
        hello, first, found = HelloReader(), b"", None
        try:
            async with asyncio.timeout(self._head_seconds):
                while found is None:
                    data = await self._reader.read(_PIECE)
                    if not data:
                        raise Refused("the tunnel ended before a ClientHello was complete")
                    first += data
                    found = hello.feed(data)
        except TimeoutError:
            seconds = f"{self._head_seconds:g} s"
            raise Refused(f"no ClientHello was complete after {seconds}") from None
        _check_name(found[0], host)
        return first

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(_PIECE):
            sink.write(data)
            await sink.drain()
            self._touch()
        if sink.can_write_eof():
            sink.write_eof()

    def _touch(self) -> None:
        if self._timer is not None:
            self._timer.reschedule(asyncio.get_running_loop().time() + self._run.limits.idle)

    # ---- plain HTTP

    async def _exchange(
        self, request: Request, server: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> bool:
        """Pass a request on, and the answer back. Return whether the connection continues."""
        to_server.write(request.head)
        async with asyncio.timeout(self._run.limits.idle) as self._timer:
            up = asyncio.create_task(self._send_body(request, to_server))
            down = asyncio.create_task(self._send_answer(request, server))
            is_whole = await _down_first(up, down)
        return is_whole and request.is_persistent and down.result()

    async def _send_body(self, request: Request, to_server: asyncio.StreamWriter) -> None:
        if request.length is not None:
            await self._copy(self._reader, to_server.write, to_server.drain, request.length)
            return
        try:
            await self._copy_chunks(self._reader, to_server.write, to_server.drain, encode=True)
        except asyncio.LimitOverrunError:
            raise Refused("the line before a chunk is too long") from None
        await to_server.drain()

    async def _send_answer(self, request: Request, server: asyncio.StreamReader) -> bool:
        """Return whether the client can tell where the answer ends."""
        try:
            response = await _read_response(server, request.method)
            while response.status < 200:
                if request.version == 1:
                    self._writer.write(response.encoded(chunked=False, close=False))
                    await self._writer.drain()
                response = await _read_response(server, request.method)
        except (Refused, asyncio.LimitOverrunError) as error:
            raise _Failed(f"the answer of {self._target}: {error}") from None
        except (asyncio.IncompleteReadError, OSError):
            raise _Failed(f"{self._target} ended the connection") from None
        has_end = await self._send_response(request, response, server)
        await self._writer.drain()
        return has_end

    async def _send_response(
        self, request: Request, response: Response, server: asyncio.StreamReader
    ) -> bool:
        is_new = request.version == 1
        has_end = response.length is not None and (is_new or response.length >= 0)
        is_chunked = response.length == -1 and is_new
        close = not (has_end and request.is_persistent)
        write, drain = self._writer.write, self._writer.drain
        self._has_answer = True
        write(response.encoded(chunked=is_chunked, close=close))
        try:
            if response.length is None:
                await self._copy(server, write, drain, None)
            elif response.length >= 0:
                await self._copy(server, write, drain, response.length)
            else:
                await self._copy_chunks(server, write, drain, encode=is_chunked)
        except (Refused, asyncio.LimitOverrunError):
            # The head is sent, so the only way to say that the body is not whole is to reset.
            self._writer.transport.abort()
            return False
        return has_end

    async def _copy(
        self,
        source: asyncio.StreamReader,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        size: int | None,
    ) -> None:
        """Copy so many bytes, or all there are."""
        left = size
        while left is None or left > 0:
            data = await source.read(_PIECE if left is None else min(left, _PIECE))
            if not data:
                if left is None:
                    return
                raise asyncio.IncompleteReadError(b"", left)
            write(data)
            await drain()
            self._touch()
            left = left if left is None else left - len(data)

    async def _copy_chunks(
        self,
        source: asyncio.StreamReader,
        write: Callable[[bytes], None],
        drain: Callable[[], Awaitable[None]],
        *,
        encode: bool,
    ) -> None:
        while size := chunk_size(await source.readuntil(b"\r\n")):
            write(b"%x\r\n" % size if encode else b"")
            await self._copy(source, write, drain, size)
            if await source.readexactly(2) != b"\r\n":
                raise Refused("a chunk does not end where its size says")
            write(b"\r\n" if encode else b"")
        if await source.readuntil(b"\r\n") != b"\r\n":
            raise Refused("there are trailers after the last chunk")
        write(b"0\r\n\r\n" if encode else b"")


def _first_words(head: bytes) -> str:
    line = head.partition(b"\r\n")[0][:_LONGEST_REASON]
    return ascii(line.decode("latin-1"))[1:-1]


def _check_name(name: str, host: Host) -> None:
    if isinstance(host, str):
        if not name:
            raise Refused("the ClientHello has no server name")
        if name.lower() != host:
            raise Refused(f"the ClientHello is for {name[:100]!a}, but CONNECT for {host}")
    elif name and name != str(host):
        raise Refused(f"the ClientHello is for {name[:100]!a}, but CONNECT for {host}")


async def _resolve(name: str) -> list[Address]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await loop.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        raise _Failed(f"{name}: no answer from the name service") from None
    except (OSError, UnicodeError) as error:
        raise _Failed(f"{name}: {error}") from None
    texts = dict.fromkeys(str(entry[4][0]).partition("%")[0] for entry in found)
    return [canonical(ip_address(text)) for text in texts]


def _why_refused(address: Address, port: int, rules: Rules) -> str:
    """Return why a connection to this address is refused; "" if it is not."""
    if rules.lists(address, port):
        return ""
    try:
        what = why_not_elsewhere(address)
    except OSError as error:
        return f"whose address {address} is cannot be found out: {error}"
    return f"{address} is {what}, and not listed" if what else ""


async def _connect_to_any(
    addresses: list[Address], port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reasons = []
    for address in addresses:
        try:
            return await _connect_to(address, port)
        except TimeoutError:
            reasons.append(f"{shown(address, port)} does not answer")
        except OSError as error:
            reasons.append(f"{shown(address, port)}: {error.strerror or error}")
    raise _Failed("; ".join(reasons[:3]))


async def _connect_to(
    address: Address, port: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        async with asyncio.timeout(_CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(connection, (str(address), port))
        return await asyncio.open_connection(sock=connection, limit=_LARGEST_HEAD)
    except BaseException:
        connection.close()
        raise


async def _read_response(server: asyncio.StreamReader, method: str) -> Response:
    return parse_response(await server.readuntil(b"\r\n\r\n"), method)


async def _close(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Close a connection when its last bytes are sent, but do not wait for ever."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(seconds):
            writer.close()
            await writer.wait_closed()


async def _both(first: asyncio.Task[None], second: asyncio.Task[None]) -> None:
    """Wait for two tasks; if one fails, or this is cancelled, end the other."""
    try:
        await asyncio.gather(first, second)
    finally:
        await _end(first, second)


async def _down_first(up: asyncio.Task[None], down: asyncio.Task[bool]) -> bool:
    """Wait for the answer, or an error. Return whether the request was sent as a whole."""
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        _check_sent(up)
        await down
        _check_sent(up)
        return up.done() and up.exception() is None
    finally:
        await _end(up, down)


def _check_sent(up: asyncio.Task[None]) -> None:
    """Raise the error of the task that sends the body, if it has one.

    It is not an error that the server reads no more: it may answer before it has read the whole
    body.
    """
    error = up.exception() if up.done() else None
    if error is not None and not isinstance(error, OSError):
        raise error


async def _end(*tasks: asyncio.Task[None] | asyncio.Task[bool]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _serve_run(run: _Run, listener: socket.socket, report: socket.socket) -> None:
    """Serve until the caller wants the report, or has ended."""
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(run.accept, sock=listener, limit=_LARGEST_HEAD)
    with suppress(OSError):
        await loop.sock_recv(report, 1)
    server.close()
    await _end(*run.tasks)
    with suppress(OSError):  # the caller has ended
        await loop.sock_sendall(report, run.report())


async def _main(control: socket.socket, rules: Rules, limits: Limits) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(_RESOLVERS))
    loop.set_exception_handler(lambda _, __: None)  # standard error is the caller's
    control.setblocking(False)
    runs: set[asyncio.Task[None]] = set()
    while True:
        readable = loop.create_future()
        loop.add_reader(control, readable.set_result, None)
        try:
            await readable
        finally:
            loop.remove_reader(control)
        data, fds, _, _ = socket.recv_fds(control, 1, 2)
        if not data:
            return
        if len(fds) != 2:  # there is no room for more descriptors; the caller gets no report
            for fd in fds:
                os.close(fd)
            continue
        listener, report = (socket.socket(fileno=fd) for fd in fds)
        listener.setblocking(False)
        report.setblocking(False)
        task = loop.create_task(_closing(_Run(rules, limits), listener, report))
        runs.add(task)
        task.add_done_callback(runs.discard)


async def _closing(run: _Run, listener: socket.socket, report: socket.socket) -> None:
    with report, listener:
        await _serve_run(run, listener, report)


def serve(control: socket.socket, rules: Rules, limits: Limits) -> None:
    """Serve every listening socket that comes, until the other end is closed.

    Args:
        control: a SOCK_SEQPACKET socket; each message has two descriptors: a listening socket, and
            a socket to the caller of the sandbox. When that one is shut down, the run has ended,
            and the report is sent to it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_main(control, rules, limits))
