"""Code that ignores the proxy of its sandbox, or lies to it, gets nowhere."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import egress_world
from egress_world import GOOD, World
from hellos import hello, real, records, server_name

OK = b"HTTP/1.1 200 "
FORBIDDEN = b"HTTP/1.1 403 "
ALERT = bytes((21, 3, 1, 0, 2, 2, 49))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return egress_world.made(tmp_path_factory.mktemp("egress"))


def printed(told: dict[str, Any]) -> Any:
    """What a payload has printed, which is one value."""
    assert told["code"] == 0, told["err"]
    return ast.literal_eval(told["out"])


def test_there_is_no_way_out_but_the_proxy(world: World) -> None:
    """The world has each of these within reach, on an address that is not loopback as well."""
    told = world(
        """
add_address("10.9.9.9/32")
add_address("fd00::9/128")
servers = [http_server(), http_server(address="10.9.9.9"), http_server(address="fd00::9")]
abstract = socket.socket(socket.AF_UNIX)
abstract.bind("\\0egress-test")
abstract.listen()
at_path = socket.socket(socket.AF_UNIX)
at_path.bind(str(FOLDER / "socket"))
at_path.listen()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("10.9.9.9", 53))
told = payload(PAYLOAD, ALLOW)
tell(got=[len(server.got) for server in servers], **told)
""",
        """
found = {}
def attempt(name, function):
    try:
        found[name] = str(function())
    except Exception as error:
        found[name] = type(error).__name__
def tcp(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(address)
attempt("IPv4", lambda: tcp(socket.AF_INET, ("10.9.9.9", 8080)))
attempt("loopback", lambda: tcp(socket.AF_INET, ("127.0.0.1", 8080)))
attempt("any", lambda: tcp(socket.AF_INET, ("0.0.0.0", 8080)))
attempt("IPv6", lambda: tcp(socket.AF_INET6, ("fd00::9", 8080)))
attempt("IPv6 loopback", lambda: tcp(socket.AF_INET6, ("::1", 8080)))
attempt("mapped", lambda: tcp(socket.AF_INET6, ("::ffff:10.9.9.9", 8080)))
attempt("abstract", lambda: tcp(socket.AF_UNIX, chr(0) + "egress-test"))
attempt("path", lambda: tcp(socket.AF_UNIX, folder + "/socket"))
attempt("UDP", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("10.9.9.9", 53)))
attempt("broadcast", lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("1.1.1.255", 9)))
attempt("name", lambda: socket.getaddrinfo("good.example.org", 80))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3))
attempt("vsock", lambda: socket.socket(socket.AF_VSOCK))
attempt("devices", lambda: [name for _, name in socket.if_nameindex()])
print(found)
""",
    )
    assert printed(told) == {
        "IPv4": "OSError",
        "loopback": "ConnectionRefusedError",
        "any": "ConnectionRefusedError",
        "IPv6": "OSError",
        "IPv6 loopback": "ConnectionRefusedError",
        "mapped": "OSError",
        "abstract": "ConnectionRefusedError",
        "path": "FileNotFoundError",
        "UDP": "OSError",
        "broadcast": "OSError",
        "name": "gaierror",
        "raw": "PermissionError",
        "packet": "OSError",
        "vsock": "OSError",
        "devices": "['lo']",
    }
    assert told["got"] == [0, 0, 0]
    assert told["refused"] == []


TARGETS = {
    "other.example.org:8443": "is not allowed",
    "good.example.org:8080x": "is not a port number",
    "good.example.org:22": "is not allowed",
    "good.example.org.evil.example:8443": "is not allowed",
    "xgood.example.org:8443": "is not allowed",
    "evilexample.com:8443": "is not allowed",
    "example.com:8443": "is not allowed",
    "localhost:8443": "is not allowed",
    "127.0.0.2:8443": "is not allowed",
    "127.1:8443": "four decimal numbers",
    "0x7f000001:8443": "four decimal numbers",
    "2130706433:8443": "four decimal numbers",
    "[::1]:8443": "is not allowed",
    "[::127.0.0.1]:8443": "is not allowed",
    "[64:ff9b::7f00:1]:8443": "is not allowed",
    "0.0.0.0:8443": "is not allowed",
    "good.example.org.:8443": "is not a host name",
    "private.example.org:8443": "10.1.2.3 is a private address, and not listed",
    "metadata.example.org:8443": "169.254.169.254 is a link-local address, and not listed",
    "a.example.com:8444": "127.0.0.1 is a loopback address, and not listed",
    "own.example.org:8443": "1.2.3.4 is an address of this machine, and not listed",
    "mappedown.example.org:8443": "1.2.3.4 is an address of this machine, and not listed",
    "sixtofourown.example.org:8443": "is an address of this machine, and not listed",
    "natown.example.org:8443": "is an address of this machine, and not listed",
    "mapped.example.org:8443": "10.1.2.3 is a private address, and not listed",
    "sixtofour.example.org:8443": "a private address as a 6to4 address, and not listed",
    "nat.example.org:8443": "a loopback address as a NAT64 address, and not listed",
}


def test_what_connect_is_refused(world: World) -> None:
    names = ["private", "metadata", "mapped", "sixtofour", "nat"]
    names += ["own", "mappedown", "sixtofourown", "natown"]
    rules = [f"{name}.example.org:8443" for name in names]
    told = world(
        """
add_address("1.2.3.4/32")
server = tls_server(FOLDER)
own = tls_server(FOLDER, address="1.2.3.4")
allow = ALLOW + rules + ["*.example.com:8443", "*.example.com:8444"]
told = payload(PAYLOAD, allow)
tell(got=server.got + own.got, **told)
""",
        """
found = []
for target in targets:
    connection, head = connect(target.encode())
    with connection:
        found.append((head + rest(connection)).decode())
print(found)
""",
        targets=[*TARGETS],
        rules=rules,
    )
    assert told["got"] == []
    answers = printed(told)
    for (target, why), answer, refused in zip(
        TARGETS.items(), answers, told["refused"], strict=True
    ):
        assert answer.startswith("HTTP/1.1 403 Forbidden\r\n"), target
        assert why in answer, target
        assert why in refused, target


HELLOS = {
    "for another host": real("other.example.org"),
    "for a name below": real("a.good.example.org"),
    "for a name that begins so": real("good.example.org.evil.example"),
    "for the name with a dot": records(hello([server_name(b"good.example.org.")])),
    "for the name with a NUL": records(hello([server_name(b"good.example.org\0")])),
    "without a name": real(None),
    "encrypted": records(hello([server_name(GOOD.encode()), (0xFE0D, b"\0" + bytes(40))])),
    "with two names": records(hello([server_name(GOOD.encode(), b"other.example.org")])),
    "in two halves, with another name": records(real("other.example.org")[5:], [60, 1, 1]),
    "that is HTTP": b"GET / HTTP/1.1\r\nHost: good.example.org\r\n\r\n",
    "that is another request": b"CONNECT other.example.org:8443 HTTP/1.1\r\n\r\n",
    "that is cut off": real(GOOD)[:100],
    "that is nothing": b"",
}


def test_which_tunnels_are_refused(world: World) -> None:
    """The server gets no byte of them."""
    told = world(
        """
def count(server, connection):
    server.got.append(connection.recv(65536))
server = Server(8443, count)
told = payload(PAYLOAD, ALLOW)
tell(got=[len(data) for data in server.got], **told)
""",
        """
found = []
for hello in hellos:
    connection, head = connect(b"good.example.org:8443")
    with connection:
        connection.sendall(hello)
        connection.shutdown(socket.SHUT_WR)
        found.append((head[:13], rest(connection)))
print(found)
""",
        hellos=[*HELLOS.values()],
    )
    answers = printed(told)
    assert answers == [(OK, ALERT)] * len(HELLOS)
    assert set(told["got"]) == {0}
    assert len(told["refused"]) == len(HELLOS)
    for name, refused in zip(HELLOS, told["refused"], strict=True):
        assert refused.startswith(f"{GOOD}:8443: "), name
        assert "ClientHello" in refused, name


def test_a_tunnel_whose_hello_comes_in_pieces(world: World) -> None:
    told = world(
        """
server = tls_server(FOLDER)
told = payload(PAYLOAD, ALLOW, read=[FOLDER])
tell(**told)
""",
        """
import ssl
context = ssl.create_default_context(cafile=folder + "/cert.pem")
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
client = context.wrap_bio(incoming, outgoing, server_hostname="good.example.org")
connection, _ = connect(b"good.example.org:8443")
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
def step(function):
    while True:
        try:
            return function()
        except ssl.SSLWantReadError:
            data = outgoing.read()
            for at in range(len(data)):
                connection.sendall(data[at : at + 1])
            incoming.write(connection.recv(65536))
step(client.do_handshake)
client.write(b"GET / HTTP/1.1\\r\\n\\r\\n")
print([step(lambda: client.read(1000))])
""",
    )
    assert printed(told)[0].endswith(b"name good.example.org")
    assert told["refused"] == []


def plain(*lines: str, target: str = f"http://{GOOD}:8080/", host: str = f"{GOOD}:8080") -> bytes:
    text = "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *lines, "", ""])
    return text.encode()


FIRST = plain("X-Number: 1")
EVIL = plain(target="http://other.example.org:8080/secret", host="other.example.org:8080")
STREAMS = {
    "another host": (0, EVIL),
    "Host forged": (0, plain(host="other.example.org:8080")),
    "the URL forged": (0, plain(target="http://other.example.org:8080/")),
    "a request for another host behind one": (1, FIRST + EVIL),
    "a request with Host forged behind one": (1, FIRST + plain(host="evil.example")),
    "a request behind one that has a body": (
        1,
        plain("Content-Length: 5") + b"12345" + EVIL,
    ),
    "a request behind one in chunks": (
        1,
        plain("Transfer-Encoding: chunked") + b"1\r\n2\r\n0\r\n\r\n" + EVIL,
    ),
    "two lengths": (0, plain("Content-Length: 0", f"Content-Length: {len(EVIL)}") + EVIL),
    "a length and chunks": (
        0,
        plain("Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + EVIL,
    ),
    "an upgrade": (0, plain("Connection: Upgrade", "Upgrade: websocket")),
    "HTTP/2": (0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "the path alone": (0, plain(target="/")),
    "a head that is too large": (0, plain(*["X-A: " + "a" * 1000] * 20)),
    "a line that is too long": (0, b"GET http://good.example.org:8080/" + b"a" * 40000),
    "an extension of a chunk": (
        1,
        plain("Transfer-Encoding: chunked") + b"1;a=b\r\n2\r\n0\r\n\r\n",
    ),
    "a chunk that is longer than its size": (
        1,
        plain("Transfer-Encoding: chunked") + b"1\r\n22\r\n0\r\n\r\n",
    ),
    "a line before a chunk that is too long": (
        1,
        plain("Transfer-Encoding: chunked") + b"0" * 40000 + b"\r\n\r\n",
    ),
    "trailers": (1, plain("Transfer-Encoding: chunked") + b"0\r\nHost: evil\r\n\r\n"),
}  # fmt: skip


def test_which_requests_are_refused(world: World) -> None:
    told = world(
        """
server = http_server()
told = payload(PAYLOAD, ALLOW)
tell(got=[data.decode() for data in server.got], **told)
""",
        """
found = []
for stream in streams:
    found.append(ask(stream))
    ask(marker)
print(found)
""",
        streams=[stream for _, stream in STREAMS.values()],
        marker=plain("X-Marker: 1"),
    )
    answers = printed(told)
    got = "".join(told["got"]).split("X-Marker: 1")
    rows = zip(STREAMS.items(), answers, got, told["refused"], strict=False)
    assert len(answers) == len(got) - 1
    assert len(answers) == len(told["refused"]), "\n".join(told["refused"])
    for (name, (most, _)), answer, reached, refused in rows:
        assert FORBIDDEN in answer or most, (name, answer, refused)
        assert reached.count("X-Number") <= most, name
        assert "other.example" not in reached, name
        assert "evil" not in reached, name
        assert "secret" not in reached, name


def test_requests_that_follow_one_another_on_a_connection(world: World) -> None:
    """Each has a connection of its own to the server, and the answers are in their order."""
    told = world(
        """
server = http_server()
told = payload(PAYLOAD, ALLOW)
tell(got=[data.decode() for data in server.got], **told)
""",
        """
print([ask(*requests), ask(b"".join(requests))])
""",
        requests=[
            FIRST,
            plain("Content-Length: 4") + b"2222",
            plain("Transfer-Encoding: chunked") + b"2\r\n44\r\n0\r\n\r\n",
            plain("X-Number: 3", "Connection: close"),
        ],
    )
    for answer in printed(told):
        assert answer.count(OK) == 4
        assert answer.index(b"X-Number: 1") < answer.index(b"X-Number: 3")
    assert told["refused"] == []
    assert len(told["got"]) == 8
    assert all(data.count("HTTP/1.1") == 1 for data in told["got"])


@pytest.mark.parametrize(
    ("answer", "expected", "persists"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab", b"\r\n\r\nab", True),
        (b"HTTP/1.1 200 OK\r\n\r\nab", b"\r\n\r\nab", False),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            b"\r\n\r\n2\r\nab\r\n0\r\n\r\n", True,
        ),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", True,
        ),
    ],
)  # fmt: skip
def test_answers_are_passed_on(
    world: World, answer: bytes, expected: bytes, persists: bool
) -> None:
    told = world(
        """
server = http_server(answer=answer)
tell(**payload(PAYLOAD, ALLOW))
""",
        """
print(ask(first + first))
""",
        first=FIRST,
        answer=answer,
    )
    got = printed(told)
    assert told["refused"] == []
    assert got.count(expected) == 1 + persists
    assert (b"Connection: close" in got) == (not persists)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw", b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 30000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n",
    ],
    ids=["101", "nonsense", "too large", "cut off"],
)  # fmt: skip
def test_answers_that_are_no_http_are_an_error(world: World, answer: bytes) -> None:
    told = world(
        """
def serve(server, connection):
    connection.recv(65536)
    connection.sendall(answer)
Server(8080, serve)
tell(**payload(PAYLOAD, ALLOW))
""",
        """
print(ask(first))
""",
        first=FIRST,
        answer=answer,
    )
    assert printed(told).startswith(b"HTTP/1.1 502 ")
    assert b"raw" not in printed(told)


def test_connections_are_bounded(world: World) -> None:
    told = world(
        """
server = http_server()
tell(**payload(PAYLOAD, ALLOW, connections=3))
""",
        """
waiting = [proxy() for _ in range(3)]
more = [ask(first)[:13] for _ in range(3)]
for connection in waiting:
    connection.close()
while ask(first)[:13] != b"HTTP/1.1 200 ":
    pass
print(more)
""",
        first=FIRST,
    )
    assert printed(told) == [b"HTTP/1.1 503 "] * 3
    assert all("more than 3 connections at a time" in refused for refused in told["refused"])
    assert len(told["refused"]) >= 3


IDLE = """
def silent(server, connection):
    rest = connection.recv(65536)
    while connection.recv(65536):
        pass
servers = [Server(8080, silent), tls_server(FOLDER)]
tell(**payload(PAYLOAD, ALLOW, idle_timeout=SECONDS, read=[FOLDER]))
"""
IDLE_PAYLOAD = """
import ssl
half = proxy()
half.sendall(b"GET http")
tunnel, head = connect(b"good.example.org:8443")
found = [rest(proxy()), rest(half)[:13], rest(tunnel), ask(first)]
context = ssl.create_default_context(cafile=folder + "/cert.pem")
tunnel, head = connect(b"good.example.org:8443")
with context.wrap_socket(tunnel, server_hostname="good.example.org") as client:
    found.append(rest(client))
print(found)
"""


def test_idle_time_is_bounded(world: World) -> None:
    for seconds in (0.5, 3.0, 8.0):  # the first within which this machine does what is not idle
        told = world(IDLE.replace("SECONDS", str(seconds)), IDLE_PAYLOAD, first=FIRST)
        reasons = [refused.rpartition(": ")[2] for refused in told["refused"]]
        if len(reasons) == 2:
            break
    silent, half, tunnel, unanswered, tls = printed(told)
    assert silent == b""
    assert half == FORBIDDEN
    assert tunnel == ALERT
    assert unanswered == b""
    assert tls.startswith(b"HTTP/1.1 200 ") or tls in (b"", b" SSLEOFError")
    assert reasons == [
        f"the head was not complete after {seconds:g} s",
        f"no ClientHello was complete after {seconds:g} s",
    ]


def test_refusals_are_bounded(world: World) -> None:
    told = world(
        """
told = payload(PAYLOAD, ALLOW)
tell(**told)
""",
        """
for _ in range(1100):
    ask(b"x\\r\\n\\r\\n")
print(1)
""",
    )
    assert printed(told) == 1
    assert len(told["refused"]) == 1001
    assert "100 more" in told["refused"][-1]


def test_a_name_is_resolved_once(world: World) -> None:
    """A name service that says another address each time (DNS rebinding)."""
    told = world(
        """
asked = name_service(["127.0.0.1", "127.0.0.2"])
servers = [http_server(), http_server(address="127.0.0.2")]
told = payload(PAYLOAD, ["*.test:8080", "rebinding.test:8080", "127.0.0.1:8080"])
tell(asked=asked, got=[len(server.got) for server in servers], **told)
""",
        """
request = first_replace_good_encode_b_rebinding_test
print([ask(request)[:13], ask(request)[:13], ask(request)[:13]])
""",
        first_replace_good_encode_b_rebinding_test=FIRST.replace(GOOD.encode(), b"rebinding.test"),
    )
    assert printed(told) == [OK, FORBIDDEN, OK]
    assert told["asked"] == ["rebinding.test"] * 3
    assert told["got"] == [2, 0]
    assert told["refused"] == [
        "rebinding.test:8080: rebinding.test: 127.0.0.2 is a loopback address, and not listed"
    ]


def test_names_that_are_not_allowed_are_not_resolved(world: World) -> None:
    """Or code could send data in the names that it asks for."""
    told = world(
        """
asked = name_service(["127.0.0.1"])
told = payload(PAYLOAD, ["good.test:8080"])
tell(asked=asked, **told)
""",
        """
for name in (b"secret.evil.test", b"secret.good.test", b"good.test.evil", b"good.test"):
    ask(first.replace(b"good.example.org", name))
print(1)
""",
        first=FIRST,
    )
    assert printed(told) == 1
    assert told["asked"] == ["good.test"]
    assert len(told["refused"]) == 4


def test_pip_downloads_from_a_listed_index_alone(world: World) -> None:
    told = world("""
words = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "-d", "/tmp/out",
         "--disable-pip-version-check", "--cert", str(FOLDER / "cert.pem"), "--retries", "0"]
index(FOLDER, port=8443)
allow = ALLOW
good = run([*words, "--index-url", "https://good.example.org:8443/simple/", "pkg"], allow,
           read=[FOLDER])
other = run([*words, "--index-url", "https://other.example.org:8443/simple/", "pkg"], allow,
            read=[FOLDER])
tell(good=good, other=other)
""")  # fmt: skip
    assert told["good"]["code"] == 0, told["good"]
    assert "Saved /tmp/out/pkg-1.0-py3-none-any.whl" in told["good"]["out"]
    assert told["good"]["refused"] == []
    assert told["other"]["code"] != 0
    assert set(told["other"]["refused"]) == {
        "other.example.org:8443: other.example.org:8443 is not allowed"
    }
