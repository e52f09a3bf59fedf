"""A sandbox with a Pasta has a network like the caller's, without the caller's loopback device."""

from __future__ import annotations

import ast
import os
import select
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

import egress_world
import nsenter
from egress_world import World
from needs import needs
from processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60.0
# What each payload of these tests knows.
ASK = """
import socket
def ask(address, port=8080, seconds=20):
    try:
        with socket.create_connection((address, port), seconds) as connection:
            connection.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
            return connection.recv(12).decode()
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    needs("pasta", package="passt")
    return egress_world.made(tmp_path_factory.mktemp("pasta"))


def test_what_is_reached(world: World) -> None:
    code = """
import nsenter
add_way_out()
for address in ("198.18.1.1", "127.0.0.1"):
    http_server(8080, address=address)
    http_server(8081, address=address)
found = []
for fields in ({}, {"caller_ports": [8081]}):
    with nsenter.Sandbox(network=nsenter.Pasta(**fields), timeout=SECONDS) as box:
        result = box.run([sys.executable, "-I", "-S", "-c", PAYLOAD])
        found.append([str(result.error or ""), result.stderr.decode(), result.stdout.decode()])
tell(found=found, children=children())
"""
    told = world(
        code,
        ASK + "print([ask('198.18.1.1'), ask('127.0.0.1'), ask('198.18.0.254', 8080, 1), "
        "ask('127.0.0.1', 8081), open('/etc/resolv.conf').read()])",
    )
    (*errors, plain), (*more_errors, with_port) = told["found"]
    assert errors == more_errors == ["", ""]
    reached, loopback, gateway, port, resolver = ast.literal_eval(plain)
    assert reached == "HTTP/1.1 200"
    assert loopback == port == "ConnectionRefusedError"
    assert gateway != "HTTP/1.1 200"
    assert resolver == "nameserver 169.254.0.53\n"
    assert ast.literal_eval(with_port)[1] == "ConnectionRefusedError"
    assert ast.literal_eval(with_port)[3] == "HTTP/1.1 200"
    assert told["children"] == []


def test_ports_are_forwarded(world: World) -> None:
    code = """
import nsenter, time
add_way_out()
answers = []
network = nsenter.Pasta(ports=["8077:8000", "127.0.0.5:8078:8000"])
with nsenter.Sandbox(network=network, timeout=SECONDS) as box:
    results = []
    run = threading.Thread(target=lambda: results.append(
        box.run([sys.executable, "-I", "-S", "-c", PAYLOAD])))
    run.start()
    def ask(address, port):
        while run.is_alive():
            with contextlib.suppress(OSError), socket.create_connection((address, port)) as one:
                if data := one.recv(100):
                    return data.decode()
            time.sleep(0.02)
    answers = [ask("127.0.0.1", 8077), ask("127.0.0.5", 8078)]
    try:
        socket.create_connection(("198.18.1.1", 8077)).close()
        answers.append("connected")
    except OSError as error:
        answers.append(type(error).__name__)
    while run.is_alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 8077)) as one:
            one.sendall(b"end")
        run.join(0.02)
tell(answers=answers, code=results[0].returncode, err=results[0].stderr.decode())
"""
    payload = """
import contextlib, socket
listener = socket.create_server(("0.0.0.0", 8000))
data = b""
while data != b"end":  # a connection may be tried in vain
    connection, _ = listener.accept()
    with contextlib.suppress(OSError), connection:
        connection.sendall(b"inside")
        data = connection.recv(3)
"""
    assert world(code, payload) == {
        "answers": ["inside", "inside", "ConnectionRefusedError"], "code": 0, "err": "",
    }  # fmt: skip


def test_a_function_has_the_network(world: World) -> None:
    told = world("""
import nsenter
add_way_out()
server = http_server(address="198.18.1.1")
def fetch():
    import urllib.request
    return urllib.request.urlopen("http://198.18.1.1:8080/", timeout=20).status
with nsenter.Sandbox(network=nsenter.Pasta(), timeout=SECONDS) as box:
    tell(status=box.call(fetch))
""")
    assert told == {"status": 200}


def test_without_pasta_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with (
        pytest.raises(FileNotFoundError, match="package passt"),
        nsenter.Sandbox(network=nsenter.Pasta()),
    ):
        pass


def test_what_pasta_says_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "pasta"
    script.write_text("#!/bin/sh\necho 'it does not like this' >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with (
        nsenter.Sandbox(network=nsenter.Pasta()) as box,
        pytest.raises(nsenter.BootstrapError, match="it does not like this"),
    ):
        box.run(["true"])


CALLER = """
import nsenter, sys
with nsenter.Sandbox(network=nsenter.Pasta(dns=False)) as box:
    box.run(["sleep", "1000"])
"""


def test_a_killed_caller_leaves_nothing(tmp_path: Path) -> None:
    """Also where pasta does not notice that its network is gone."""
    script = tmp_path / "pasta"
    pids = tmp_path / "pids"
    script.write_text(f"""#!/bin/sh
while [ "$1" != --pid ]; do shift; done
echo $$ $PPID >{pids}.new
mv {pids}.new {pids}
echo $$ >"$2"
exec sleep 1000
""")
    script.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    argv = [sys.executable, "-c", CALLER]
    with subprocess.Popen(argv, stdin=DEVNULL, stdout=PIPE, cwd=ROOT, env=env) as caller:
        wait_until(pids.exists)
        pidfds = [os.pidfd_open(int(pid)) for pid in pids.read_text().split()]
        caller.kill()
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], SECONDS)[0]
            os.close(pidfd)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("8080", "127.0.0.1/8080:8080"),
        ("8080:80", "127.0.0.1/8080:80"),
        ("0.0.0.0:8080:80", "0.0.0.0/8080:80"),
        ("[::1]:8080", "::1/8080:8080"),
    ],
)
def test_ports(rule: str, expected: str) -> None:
    from nsenter._sandbox.pasta import _forwarded

    assert nsenter.Pasta(ports=[rule]).ports == (rule,)
    assert _forwarded("ports", rule) == expected


@pytest.mark.parametrize(
    "rule",
    ["", "0", "65536", "80:0", "80:", ":80", "a:80", "1.2.3:80:80", "::1:80", "80:80:80", "all",
     "auto", "none", "~80", "80-90", "80,81", "80 ", "1.2.3.400:80", "%eth0/80", "-t"],
)  # fmt: skip
def test_ports_that_are_none_are_named(rule: str) -> None:
    for name in ("ports", "udp_ports"):
        with pytest.raises(ValueError, match=name):
            nsenter.Pasta(**{name: [rule]})


@pytest.mark.parametrize("ports", ["80", b"80", 80, [80], [None]])
def test_ports_are_strings(ports: object) -> None:
    with pytest.raises(TypeError, match="ports"):
        nsenter.Pasta(ports=ports)  # type: ignore[arg-type]


@pytest.mark.parametrize("port", [0, 65536, "80", True, 1.5])
def test_the_callers_ports_are_numbers(port: object) -> None:
    with pytest.raises(ValueError, match="caller_ports"):
        nsenter.Pasta(caller_ports=[port])  # type: ignore[list-item]


def test_a_network_of_its_own_is_required() -> None:
    with (
        nsenter.Sandbox(network=nsenter.Pasta(), new="user,mnt,pid,ipc,uts") as box,
        pytest.raises(ValueError, match="new network namespace"),
    ):
        box.run(["true"])
