# SPDX-License-Identifier: Apache-2.0
"""libcontainer.seccomp.notify: an agent decides over a process's system calls."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import filtered
from libcontainer.configs import Seccomp, SyscallRule
from libcontainer.seccomp import compile, library
from libcontainer.seccomp.notify import send_listener
from nsenter import system

# linux/seccomp.h
NEW_LISTENER, WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
STATE = {"ociVersion": "1.2.0", "id": "c1", "status": "creating", "pid": 4711, "bundle": "/b"}


class Agent(threading.Thread):
    """Accepts one listener, and answers one call."""

    def __init__(self, path: Path, answer: int) -> None:
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._answer = answer
        self.message: dict[str, Any] = {}
        self.argument = -1

    def run(self) -> None:
        with self._socket, self._socket.accept()[0] as connection:
            text, fds, _, _ = socket.recv_fds(connection, 65536, 1)
            while more := connection.recv(65536):
                text += more
            self.message = json.loads(text)
        listener = fds[0]
        try:
            seen = bytearray(NOTIFICATION.size)
            fcntl.ioctl(listener, NOTIF_RECV, seen)
            fields = NOTIFICATION.unpack(seen)
            self.argument = fields[6]
            answer = ANSWER.pack(fields[0], 0, -self._answer, 0)
            fcntl.ioctl(listener, NOTIF_SEND, bytearray(answer))
        finally:
            os.close(listener)


@pytest.fixture
def policy(tmp_path: Path) -> Seccomp:
    return Seccomp(
        "SCMP_ACT_ALLOW",
        syscalls=(SyscallRule(["umask"], "SCMP_ACT_NOTIFY"),),
        listener_path=str(tmp_path / "agent"),
        listener_metadata="of the container",
    )


@pytest.fixture
def agent(policy: Seccomp) -> Iterator[Agent]:
    agent = Agent(Path(policy.listener_path), errno.EXDEV)
    agent.start()
    yield agent
    agent.join(10)


def test_a_rule_that_notifies_asks_for_a_listener(policy: Seccomp) -> None:
    program = compile(policy)
    assert program.has_listener
    assert program.flags == NEW_LISTENER
    asked = policy.replace(flags=("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",))
    assert compile(asked).flags == NEW_LISTENER | WAIT_KILLABLE_RECV
    assert not compile(Seccomp("SCMP_ACT_ALLOW")).has_listener


def test_an_agent_is_told_and_decides(policy: Seccomp, agent: Agent) -> None:
    program = compile(policy)
    ours, theirs = socket.socketpair()
    number = library._open().seccomp_syscall_resolve_name(b"umask")
    script = f"import filtered; filtered.with_listener({theirs.fileno()}, {number}, 0o27)"
    with ours, subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
        cwd=Path(filtered.__file__).parent,
    ) as child:  # fmt: skip
        theirs.close()
        assert child.stdin is not None
        child.stdin.write(filtered.message(program.code, program.flags, ()))
        child.stdin.close()
        _, (listener,) = system.receive_fds(ours.fileno(), 1, 1)
        send_listener(policy, listener, child.pid, STATE)
        os.close(listener)
        assert child.stdout is not None
        assert int(child.stdout.read()) == -errno.EXDEV
    agent.join(10)
    assert agent.argument == 0o27
    assert agent.message == {
        "ociVersion": "1.2.0",
        "fds": ["seccompFd"],
        "pid": child.pid,
        "metadata": "of the container",
        "state": STATE,
    }


def test_a_state_longer_than_a_socket_takes_at_once_arrives(policy: Seccomp) -> None:
    state = {**STATE, "annotations": {"long": "x" * 2_000_000}}
    received: list[dict[str, Any]] = []

    def receive() -> None:
        with listening, listening.accept()[0] as connection:
            text, fds, _, _ = socket.recv_fds(connection, 65536, 1)
            while more := connection.recv(65536):
                text += more
        received.append(json.loads(text))
        for fd in fds:
            os.close(fd)

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(policy.listener_path)
    listening.listen()
    thread = threading.Thread(target=receive)
    thread.start()
    with Path(os.devnull).open() as file:
        send_listener(policy, file.fileno(), 1, state)
    thread.join(10)
    assert received[0]["state"] == state


@pytest.mark.parametrize(
    ("path", "number"), [("/nowhere/agent", errno.ENOENT), ("/" + "long" * 99, 0)]
)
def test_an_agent_that_is_not_there_is_named(policy: Seccomp, path: str, number: int) -> None:
    with Path(os.devnull).open() as file, pytest.raises(system.Failure) as caught:
        send_listener(policy.replace(listener_path=path), file.fileno(), 1, STATE)
    assert caught.value.errno == number
    assert str(caught.value).startswith(f"failed to connect with seccomp agent {path}: ")
