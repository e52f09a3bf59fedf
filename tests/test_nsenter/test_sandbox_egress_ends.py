"""The proxy of a sandbox ends with it, and with its caller; nothing of a run is left in it."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import DEVNULL, PIPE

import pytest

import nsenter
from nsenter._sandbox.egress import Egress
from nsenter._sandbox.egress_process import EgressProxy
from nsenter._sandbox.refusal import Refusal
from processes import children_of, links_of, wait_until

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 30.0
SANDBOX = nsenter.presets.sandbox()
ASK = (
    "import socket, sys; c = socket.create_connection(('127.0.0.1', 3128)); "
    "c.sendall(b'CONNECT evil.example:443 HTTP/1.0\\r\\n\\r\\n'); "
    "print(c.recv(12).decode(), flush=True); sys.stdin.readline()"
)


def helper_of(proxy: EgressProxy) -> tuple[int, int]:
    """The pids of the process that makes sockets, and of its child, once they serve."""
    assert proxy._process
    pid = proxy._process.pid
    wait_until(lambda: children_of(pid))
    return pid, min(children_of(pid))


@pytest.fixture
def proxy() -> Iterator[EgressProxy]:
    made = Egress(["good.example:443"]).for_sandbox()
    assert isinstance(made, EgressProxy)
    made.open()
    yield made
    made.close()


def start(proxy: EgressProxy, code: str = ASK) -> nsenter.Popen[bytes]:
    argv = [sys.executable, "-I", "-S", "-c", code]
    process = nsenter.Popen(argv, SANDBOX, env={}, wait_for_go=True, stdin=PIPE, stdout=PIPE)
    try:
        proxy.attach(process._child)
        process.go()
    except BaseException:
        process.kill()
        process.communicate()
        raise
    return process


def test_each_run_has_its_own_refusals(proxy: EgressProxy) -> None:
    for _ in range(2):
        with start(proxy) as process:
            assert process.communicate(b"\n", timeout=SECONDS) == (b"HTTP/1.1 403\n", None)
        (refusal,) = proxy.refusals(process._child)
        assert isinstance(refusal, Refusal)
        assert refusal.target == "evil.example:443"
        assert refusal.reason == "evil.example:443 is not allowed"
        assert refusal.client.startswith("127.0.0.1:")
        assert abs(refusal.when - time.time()) < SECONDS
        again = pickle.loads(pickle.dumps(refusal))
        assert (again, again.__dict__) == (refusal, refusal.__dict__)
    assert proxy.refusals(process._child) == ()


def test_runs_at_the_same_time(proxy: EgressProxy) -> None:
    """The end of one does not end the network of another."""
    with start(proxy) as first, start(proxy) as second:
        assert second.communicate(b"\n", timeout=SECONDS)[0]
        assert first.stdout
        assert first.stdout.readline() == b"HTTP/1.1 403\n"
        assert len(proxy.refusals(second._child)) == 1
        assert proxy.refusals(second._child) == ()
        assert first.communicate(b"\n", timeout=SECONDS) == (b"", None)
        assert len(proxy.refusals(first._child)) == 1


def sockets_of(pid: int) -> list[str]:
    return sorted(link for link in links_of(pid).values() if link.startswith("socket"))


def test_nothing_of_a_run_is_left_in_the_proxy(proxy: EgressProxy) -> None:
    """Neither its sockets nor, by them, its network namespace, also of connections that are open
    when it ends."""
    code = ASK.replace("print", "s = socket.create_connection(('127.0.0.1', 3128)); print")
    with start(proxy) as process:  # from then on the proxy serves
        process.communicate(b"\n", timeout=SECONDS)
    proxy.refusals(process._child)
    both = helper_of(proxy)
    # Its control socket, and the pair that wakes its loop.
    wait_until(lambda: len(sockets_of(both[1])) <= 3)
    before = [*map(sockets_of, both)]
    for _ in range(5):
        with start(proxy, code) as process:
            assert process.stdout
            assert process.stdout.readline()
            wait_until(lambda: len(sockets_of(both[1])) > 5)
            process.kill()
        assert len(proxy.refusals(process._child)) == 1
        wait_until(lambda: [*map(sockets_of, both)] == before)


def test_a_client_that_does_not_read_keeps_no_connection() -> None:
    """What is sent to it stays in a buffer, for as long as a connection may be idle."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        port = server.getsockname()[1]
        made = Egress([f"127.0.0.1:{port}"], idle_timeout=0.2).for_sandbox()
        assert isinstance(made, EgressProxy)
        made.open()
        try:
            url = f"http://127.0.0.1:{port}/"
            request = f"GET {url} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\n\\r\\n"
            code = ASK.replace("CONNECT evil.example:443 HTTP/1.0\\r\\n\\r\\n", request)
            with start(made, code) as process:
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(SECONDS)
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
                    with contextlib.suppress(OSError):
                        connection.sendall(head + bytes(99999999))
                _, pid = helper_of(made)
                end = time.monotonic() + SECONDS
                while len(sockets_of(pid)) > 5:  # with the listener, and the way to the caller
                    assert time.monotonic() < end
                process.communicate(b"\n", timeout=SECONDS)
            assert made.refusals(process._child) == ()
        finally:
            made.close()


def test_closing_ends_both_processes_and_may_be_done_twice() -> None:
    made = Egress([]).for_sandbox()
    assert isinstance(made, EgressProxy)
    made.open()
    pidfds = [os.pidfd_open(pid) for pid in helper_of(made)]
    made.close()
    made.close()
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], SECONDS)[0]
        os.close(pidfd)


@pytest.mark.parametrize("which", [0, 1])
def test_without_the_proxy_there_is_no_network_but_an_error(which: int, proxy: EgressProxy) -> None:
    both = helper_of(proxy)
    pidfds = [os.pidfd_open(pid) for pid in both]
    with start(proxy) as process:
        os.kill(both[which], signal.SIGKILL)
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], SECONDS)[0]
            os.close(pidfd)
        process.communicate(b"\n", timeout=SECONDS)
    (refusal,) = proxy.refusals(process._child)
    assert refusal.endswith("the proxy had ended: what it refused is not known")
    with pytest.raises(nsenter.BootstrapError, match="proxy"):
        start(proxy)


CALLER = """
import os, sys, time
sys.path.insert(0, "tests/test_nsenter")
from test_sandbox_egress_ends import *
proxy = Egress([]).for_sandbox()
proxy.open()
process = start(proxy)
print(process.stdout.readline().decode().strip(), flush=True)
if "fork" in sys.argv:
    pid = os.fork()
    if not pid:
        time.sleep(1000)
else:
    pid = 0
print(json.dumps([*helper_of(proxy), process.pid, pid]), flush=True)
time.sleep(1000)
"""


@pytest.mark.parametrize("words", [[], ["fork"]], ids=["alone", "with a fork of it"])
def test_a_killed_caller_leaves_nothing(words: list[str]) -> None:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/support:{ROOT}/tests"}
    argv = [sys.executable, "-c", CALLER, *words]
    with subprocess.Popen(argv, stdout=PIPE, stdin=DEVNULL, cwd=ROOT, env=env) as caller:
        assert caller.stdout
        assert caller.stdout.readline() == b"HTTP/1.1 403\n"
        *pids, fork = json.loads(caller.stdout.readline())
        pidfds = [os.pidfd_open(pid) for pid in pids]
        caller.kill()
        try:
            for pidfd in pidfds:
                assert select.select([pidfd], [], [], SECONDS)[0]
                os.close(pidfd)
        finally:
            if fork:
                os.kill(fork, signal.SIGKILL)


def test_a_process_that_has_ended_cannot_be_served(proxy: EgressProxy) -> None:
    with nsenter.Popen(["true"], SANDBOX, wait_for_go=True) as process:
        process.kill()
        process.wait()
        with pytest.raises(OSError, match=r"process"):
            proxy.attach(process._child)
    # The proxy serves others all the same.
    with start(proxy) as another:
        assert another.communicate(b"\n", timeout=SECONDS)[0]


def test_a_policy_is_a_value_that_several_sandboxes_share() -> None:
    policy = Egress(["a.example:443"])
    assert policy == Egress(("a.example:443",))
    assert policy.for_sandbox() is not policy.for_sandbox()
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_the_variables_name_the_proxy(proxy: EgressProxy) -> None:
    found = proxy.environment()
    assert {name for name in found if name.islower()} == {
        *("http_proxy", "https_proxy", "all_proxy", "no_proxy")
    }
    assert all(found[name] == found[name.upper()] for name in [*found] if name.islower())
    assert found["https_proxy"] == "http://127.0.0.1:3128"


@pytest.mark.parametrize(
    ("allow", "local"),
    [
        (["*:443", "a.example:443"], "localhost,127.0.0.1,::1"),
        (["127.0.0.1:8080"], "localhost,::1"),
        (["127.0.0.0/8:8080", "[::1]:80"], "localhost"),
        (["localhost:80"], "127.0.0.1,::1"),
    ],
)
def test_listed_servers_of_the_caller_are_behind_the_proxy(allow: list[str], local: str) -> None:
    assert Egress(allow).for_sandbox().environment()["no_proxy"] == local


@pytest.mark.parametrize(
    "options",
    [
        nsenter.Options(),
        nsenter.Options(new="user,mnt,pid"),
        nsenter.Options(new="user", join={"net": "/proc/self/ns/net"}),
        nsenter.Options(new="all", join={"net": "/proc/self/ns/net"}),
    ],
    ids=["none", "others", "joined", "all but the joined"],
)
def test_a_network_of_its_own_is_required(options: nsenter.Options, proxy: EgressProxy) -> None:
    with pytest.raises(ValueError, match="requires a new network namespace"):
        proxy.changes(options)


def test_the_callers_own_network_is_not_served(proxy: EgressProxy) -> None:
    with (
        nsenter.Popen(["true"], nsenter.Options(new="user"), wait_for_go=True) as process,
        pytest.raises(nsenter.BootstrapError, match=r"own network namespace|setns .*not permitted"),
    ):
        try:
            proxy.attach(process._child)
        finally:
            process.kill()


def test_the_callers_ignored_signals_do_not_matter() -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        made = Egress([]).for_sandbox()
        assert isinstance(made, EgressProxy)
        made.open()
        try:
            for _ in range(2):
                with start(made) as process:
                    process.communicate(b"\n", timeout=SECONDS)
                assert len(made.refusals(process._child)) == 1
        finally:
            made.close()
    finally:
        signal.signal(signal.SIGCHLD, before)
