"""The fields of Options for Landlock restrict TCP ports, signals and abstract sockets."""

from __future__ import annotations

import contextlib
import errno
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import denying
import nsenter
from nsenter import Options
from nsenter._host import probe
from processes import THIS_RUN

NEWEST = 6  # the version of Landlock's interface that has all of it


def _version() -> int:
    try:
        return probe.TRIALS["landlock"]()
    except OSError:
        return 0


pytestmark = pytest.mark.skipif(
    _version() < NEWEST,
    reason=f"Landlock's version here is {_version()}, not {NEWEST}: boot Linux 6.12 or newer with "
    "landlock in the list of lsm=",
)

# Bind and connect to ports, to a socket without a file, and send a signal to a process outside.
TRY = """
import json, os, signal, socket, sys
def tried(do):
    try:
        do()
    except OSError as error:
        return error.errno
    return 0
def tcp():
    return socket.socket()
said = {}
for port in (8001, 8002):
    listener = tcp()
    said[f"bind {port}"] = tried(lambda: (listener.bind(("127.0.0.1", port)), listener.listen()))
    said[f"connect {port}"] = tried(lambda: tcp().connect(("127.0.0.1", port)))
name, pid = sys.argv[1:]
unix = socket.socket(socket.AF_UNIX)
said["abstract"] = tried(lambda: unix.connect("\\0" + name))
said["signal"] = tried(lambda: os.kill(int(pid), 0))
said["own signal"] = tried(lambda: os.kill(os.getpid(), 0))
print(json.dumps(said))
"""
DENIED = errno.EACCES


@pytest.fixture
def outside() -> Iterator[list[str]]:
    """A name that somebody listens to, and the pid of somebody."""
    name = f"nsx-landlock-{THIS_RUN}"
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(f"\0{name}")
        listener.listen()
        sleeper = stack.enter_context(subprocess.Popen(["sleep", "100"]))
        stack.callback(sleeper.send_signal, signal.SIGKILL)
        yield [name, str(sleeper.pid)]


def tried(outside: list[str], **fields: Any) -> dict[str, int]:
    # Ports of nobody else's; a socket without a file belongs to a network namespace.
    new = "user" if "landlock_scope" in fields else "user,net"
    options = Options(new=new, maps="current", **fields)
    said = nsenter.check_output([sys.executable, "-I", "-S", "-c", TRY, *outside], options)
    found: dict[str, int] = json.loads(said)
    assert found["own signal"] == 0
    return found


def test_rules_for_paths_deny_neither_ports_nor_signals(outside: list[str]) -> None:
    found = tried(outside, landlock={"/": "rwx"})
    assert [found[f"{what} {port}"] for what in ("bind", "connect") for port in (8001, 8002)] == [
        0, 0, 0, 0,
    ]  # fmt: skip
    assert found["signal"] == 0


@pytest.mark.parametrize("paths", [None, {"/": "rwx"}])
def test_ports_that_may_be_bound(outside: list[str], paths: dict[str, str] | None) -> None:
    found = tried(outside, landlock_bind=[8001], landlock=paths)
    assert (found["bind 8001"], found["bind 8002"]) == (0, DENIED)
    assert found["connect 8001"] == 0


def test_ports_that_may_be_connected_to(outside: list[str]) -> None:
    found = tried(outside, landlock_connect=[8002])
    assert (found["connect 8001"], found["connect 8002"]) == (DENIED, 0)
    assert found["bind 8001"] == 0


def test_no_port_at_all(outside: list[str]) -> None:
    found = tried(outside, landlock_bind=(), landlock_connect=())
    assert {found[f"{what} {port}"] for what in ("bind", "connect") for port in (8001, 8002)} == {
        DENIED
    }


def test_nothing_is_denied_that_is_not_asked_for(outside: list[str]) -> None:
    found = tried(outside, landlock_scope=["signal"])
    assert (found["abstract"], found["signal"]) == (0, errno.EPERM)


def test_scopes(outside: list[str]) -> None:
    found = tried(outside, landlock_scope=["abstract_unix_socket"])
    assert (found["abstract"], found["signal"]) == (errno.EPERM, 0)
    found = tried(outside, landlock_scope=["abstract_unix_socket", "signal"])
    assert (found["abstract"], found["signal"]) == (errno.EPERM, errno.EPERM)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"landlock_bind": [65536]}, "landlock_bind must be TCP ports, 0 … 65535, not 65536"),
        ({"landlock_connect": [-1]}, "landlock_connect must be TCP ports"),
        ({"landlock_connect": ["80"]}, "landlock_connect must be TCP ports, 0 … 65535, not '80'"),
        ({"landlock_bind": 80}, "landlock_bind must be a sequence, not 80"),
        ({"landlock_bind": b"P"}, "landlock_bind must be a sequence of TCP ports, not b'P'"),
        ({"landlock_scope": ["sockets"]}, "must be abstract_unix_socket or signal, not 'sockets'"),
        ({"landlock_scope": "signal"}, "must be a sequence of names"),
    ],
)
def test_what_is_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said):
        nsenter.run(["true"], Options(**fields))


def test_what_the_kernel_does_not_have_is_an_error_with_a_hint() -> None:
    script = "import nsenter; nsenter.run(['true'], nsenter.Options(landlock_bind=()))"
    refusing = denying.prefix(("landlock_create_ruleset", errno.EOPNOTSUPP))
    done = subprocess.run([*refusing, sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "landlock_create_ruleset: Operation not supported" in done.stderr
    assert "TCP ports require Linux 6.7" in done.stderr


def test_the_command_has_them() -> None:
    words = [
        "--landlock-bind", "8001,8002", "--landlock-connect", "", "--landlock-scope", "signal",
    ]  # fmt: skip
    code = "import socket; socket.socket().connect(('127.0.0.1', 9))"
    command = [sys.executable, "-m", "nsenter", "run", *words, "--", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Permission denied" in done.stderr
