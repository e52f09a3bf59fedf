"""A small internet for the tests of Egress: names, a TLS server and an HTTP server, in namespaces
of their own.

`in_world` runs code there. The code uses the names of this module: it starts servers, runs payloads
in sandboxes with an Egress, and prints one line of JSON.
"""

from __future__ import annotations

import contextlib
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
8.8.4.4 public.example.org
"""
SECONDS = 30.0
HTTP, TLS = 8080, 8443


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


def in_world(folder: Path, code: str) -> Any:
    """Run code in a new mount and network namespace with these names; return what it prints.

    Args:
        folder: has the certificate.
    """
    import nsenter

    (folder / "hosts").write_text(HOSTS)
    new = "mnt,net" if os.geteuid() == 0 else "user,mnt,net"
    hosts = nsenter.Bind(folder / "hosts", "/etc/hosts")
    options = nsenter.Options(new=new, mounts=[hosts], new_session=False)
    places = [str(ROOT), str(Path(__file__).parent)]
    text = f"import json\nfrom egress_world import *\nFOLDER = Path({str(folder)!r})\n{code}"
    done = nsenter.run(
        [sys.executable, "-c", text], options, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return json.loads(done.stdout)


# ---- in the world


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
        self._listener = socket.create_server((address, port), backlog=64)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.settimeout(SECONDS)
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            self._serve(self, connection)


def http_server(port: int = HTTP, answer: bytes = b"") -> Server:
    """Serve HTTP: each answer is the request's own head, or `answer`."""

    def serve(server: Server, connection: socket.socket) -> None:
        data = b""
        index = len(server.got)
        server.got.append(b"")
        while more := connection.recv(65536):
            data += more
            server.got[index] = data
            if b"\r\n\r\n" in data:
                text = answer or b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (
                    len(data), data,
                )  # fmt: skip
                connection.sendall(text)
                if b"HTTP/1.1 200" in text and b"Content-Length" not in text:
                    return
                data = b""

    return Server(port, serve)


def tls_server(folder: Path, port: int = TLS) -> Server:
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

    return Server(port, serve)


def run(
    argv: list[str], allow: Iterable[str], *, read: Iterable[str | Path] = (), **policy: Any
) -> dict[str, Any]:
    """Run a program in a sandbox with an Egress; return what it did and what was refused."""
    import nsenter
    from nsenter._sandbox.egress import Egress

    part = Egress(allow, **policy).for_sandbox()
    part.open()
    env = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", **part.environment()}
    try:
        with nsenter.Popen(
            argv, nsenter.presets.sandbox(read=read), env=env, held=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            part.attach(process)
            process.go()
            output = process.communicate(timeout=SECONDS)
            out, err = (data.decode("latin-1") for data in output)
        refused = [f"{told.target}: {told.reason}" for told in part.refusals()]
    finally:
        part.close()
    return {"code": process.returncode, "out": out, "err": err, "refused": refused}


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
    """Run Python code with PRELUDE in a sandbox; its output is parsed by `eval` in the tests."""
    from nsenter._interpreter.command import interpreter_path

    return run([interpreter_path(), "-I", "-S", "-c", PRELUDE + code], allow, **policy)


def curl(*words: str, allow: Iterable[str], folder: Path) -> dict[str, Any]:
    """Run curl in a sandbox."""
    argv = ["curl", "-sS", "-m", "20", "--cacert", str(folder / "cert.pem"), *words]
    return run(argv, allow, read=[folder])


def tell(**values: Any) -> None:
    """Print what the test checks."""
    print(json.dumps(values))
