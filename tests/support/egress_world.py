"""A small internet for the tests of Egress: names, a TLS server and an HTTP server, in namespaces
of their own.

`in_world` runs code there. The code uses the names of this module: it starts servers, runs payloads
in sandboxes with an Egress, and prints one line of JSON.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HOSTS = """
127.0.0.1 localhost
127.0.0.1 good.example.org other.example.org good.example.org.evil.example
127.0.0.1 example.com a.example.com a.b.example.com evilexample.com
10.1.2.3 private.example.org
169.254.169.254 metadata.example.org
1.2.3.4 own.example.org
::ffff:1.2.3.4 mappedown.example.org
2002:102:304::1 sixtofourown.example.org
64:ff9b::102:304 natown.example.org
::ffff:10.1.2.3 mapped.example.org
2002:a01:203::1 sixtofour.example.org
64:ff9b::7f00:1 nat.example.org
"""
SECONDS = 60.0
HTTP, TLS = 8080, 8443
GOOD = "good.example.org"
# Names of the server that tests may reach, and where they lead to.
ALLOW = [f"{GOOD}:{TLS}", f"{GOOD}:{HTTP}", f"127.0.0.1:{TLS}", f"127.0.0.1:{HTTP}"]
World = Callable[..., Any]


def make_certificate(folder: Path) -> None:
    """Write cert.pem and key.pem, for every name of HOSTS."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    names = [x509.DNSName(word) for word in HOSTS.split() if word.startswith(tuple("aegmop"))]
    start = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *kind))


def made(folder: Path) -> World:
    """Return `in_world` with a new certificate.

    Args:
        folder: is made readable for other users.
    """
    make_certificate(folder)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    for file in folder.iterdir():
        file.chmod(0o644)
    return functools.partial(in_world, folder)


def in_world(folder: Path, code: str, payload: str = "", **values: Any) -> Any:
    """Run code in a new mount and network namespace with these names; return what it prints.

    Args:
        folder: has the certificate; FOLDER in the code.
        payload: PAYLOAD in the code, which runs it in a sandbox.
        values: variables of the code and of the payload.
    """
    import nsenter

    (folder / "hosts").write_text(HOSTS)
    new = "mnt,net" if os.geteuid() == 0 else "user,mnt,net"
    (folder / "resolv").write_text("")
    mounts = [
        nsenter.Bind(folder / "hosts", "/etc/hosts"),
        nsenter.Bind(folder / "resolv", "/etc/resolv.conf", writable=True),
    ]
    options = nsenter.Options(new=new, mounts=mounts, new_session=False)
    places = [str(ROOT), str(Path(__file__).parent)]
    values |= {"folder": str(folder)}
    text = (
        f"from egress_world import *\nFOLDER = Path({str(folder)!r})\nPAYLOAD = {payload!r}\n"
        f"VALUES.update({values!r})\nlocals().update(VALUES)\n{code}"
    )
    done = nsenter.run(
        [sys.executable, "-c", text], options, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


# ---- in the world

VALUES: dict[str, object] = {}


class Server:
    """Serves connections, each in a thread, and notes what it got.

    Attributes:
        got: the bytes that each connection received.
    """

    def __init__(
        self, port: int, serve: Callable[[Server, socket.socket], None], address: str = "127.0.0.1"
    ) -> None:
        self.got: list[bytes] = []
        self._serve = serve
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = socket.create_server((address, port), family=family, backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.settimeout(SECONDS)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(self, connection)


def add_address(address: str) -> None:
    """Give the loopback device of the world another address."""
    no_wait = ["nodad"] if ":" in address else []
    subprocess.run(["ip", "address", "add", address, "dev", "lo", *no_wait], check=True)


def add_way_out() -> None:
    """Give the world a device with a default route, and another address of its own, 198.18.1.1,
    to which only the default route leads from a sandbox with the device's address."""
    for words in (
        "link add way0 type veth peer name way1",
        "address add 198.18.0.1/24 dev way0",
        "link set way0 up",
        "link set way1 up",
        "route add default via 198.18.0.254",
        "address add 198.18.1.1/32 dev lo",
    ):
        subprocess.run(["ip", *words.split()], check=True)


def http_server(port: int = HTTP, answer: bytes = b"", address: str = "127.0.0.1") -> Server:
    """Serve HTTP: each answer is the request's own head, or `answer`."""

    def serve(server: Server, connection: socket.socket) -> None:
        data = b""
        index = len(server.got)
        server.got.append(b"")
        while more := connection.recv(65536):
            data += more
            server.got[index] += more
            if b"\r\n\r\n" in data:
                text = answer or b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (
                    len(data), data,
                )  # fmt: skip
                connection.sendall(text)
                if b"HTTP/1.1 200" in text and b"Content-Length" not in text:
                    return
                data = b""

    return Server(port, serve, address)


def tls_server(folder: Path, port: int = TLS, address: str = "127.0.0.1") -> Server:
    """Serve TLS: the answer is the server name of the hello, and what was received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    names = threading.local()
    context.sni_callback = lambda _, name, __: setattr(names, "name", name)

    def serve(server: Server, connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            data = tls.recv(65536)
            server.got.append(data)
            body = f"name {names.name}".encode()
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    return Server(port, serve, address)


def name_service(addresses: list[str]) -> list[str]:
    """Serve DNS to this world: each question for an IPv4 address gets the next of the addresses.

    Returns:
        the names that were asked for, which grows.
    """
    (Path("/etc/resolv.conf")).write_text("nameserver 127.0.0.1\n")
    asked: list[str] = []
    service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    service.bind(("127.0.0.1", 53))

    def serve() -> None:
        while True:
            data, client = service.recvfrom(4096)
            end = data.index(b"\0", 12) + 5
            kind, found = data[end - 3], b""
            if kind == 1:
                asked.append(_dns_name(data[12:]))
                address = addresses[(len(asked) - 1) % len(addresses)]
                found = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(address)
            head = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if found else b"\0\0") + bytes(4)
            service.sendto(head + data[12:end] + found, client)

    threading.Thread(target=serve, daemon=True).start()
    return asked


def _dns_name(data: bytes) -> str:
    labels = []
    while data[0]:
        labels.append(data[1 : 1 + data[0]].decode())
        data = data[1 + data[0] :]
    return ".".join(labels)


def index(folder: Path, port: int) -> None:
    """Serve an index of packages that has one wheel, by TLS."""
    import http.server
    import zipfile

    root = folder / "index"
    place = root / "simple" / "pkg"
    place.mkdir(parents=True, exist_ok=True)
    name = "pkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(place / name, "w") as wheel:
        info = "pkg-1.0.dist-info"
        wheel.writestr("pkg.py", "")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    (place / "index.html").write_text(f'<a href="{name}">{name}</a>')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", port), functools.partial(Quiet, directory=str(root))
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def run(
    argv: list[str], allow: Iterable[str], *, read: Iterable[str | Path] = (), **policy: Any
) -> dict[str, Any]:
    """Run a program in a sandbox with an Egress; return what it did and what was refused."""
    import nsenter

    network = nsenter.Egress(allow, **policy)
    with nsenter.Sandbox(read=read, network=network, timeout=SECONDS) as box:
        result = box.run(argv)
    out, err = (data.decode("latin-1") for data in (result.stdout, result.stderr))
    refused = [f"{line.target}: {line.reason}" for line in result.refused]  # type: ignore[attr-defined]
    return {"code": result.returncode, "out": out, "err": err, "refused": refused}


PRELUDE = """
import socket, sys
def proxy():
    connection = socket.create_connection(("127.0.0.1", 3128))
    connection.settimeout(20)
    return connection
def rest(connection):
    data = b""
    try:
        while more := connection.recv(65536):
            data += more
    except OSError as error:
        data += b" " + type(error).__name__.encode()
    return data
def ask(*pieces):
    with proxy() as connection:
        for piece in pieces:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)
        return rest(connection)
def connect(target):
    connection = proxy()
    connection.sendall(b"CONNECT %s HTTP/1.1\\r\\nHost: %s\\r\\n\\r\\n" % (target, target))
    head = b""
    while not head.endswith(b"\\r\\n\\r\\n"):
        more = connection.recv(1)
        if not more:
            break
        head += more
    return connection, head
"""


def payload(code: str, allow: Iterable[str], **policy: Any) -> dict[str, Any]:
    """Run Python code with PRELUDE in a sandbox; it prints one value, as Python writes it."""
    from nsenter._interpreter.command import interpreter_path

    values = "".join(f"{name} = {value!r}\n" for name, value in VALUES.items())
    return run([interpreter_path(), "-I", "-S", "-c", PRELUDE + values + code], allow, **policy)


def curl(*words: str, allow: Iterable[str], folder: Path) -> dict[str, Any]:
    """Run curl in a sandbox."""
    argv = ["curl", "-sS", "-m", "20", "--cacert", str(folder / "cert.pem"), *words]
    return run(argv, allow, read=[folder])


def children() -> list[str]:
    """Return the processes that this one has started and not waited for."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def tell(**values: Any) -> None:
    """Print what the test checks."""
    print(json.dumps(values))
