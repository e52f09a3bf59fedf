# SPDX-License-Identifier: Apache-2.0
"""An agent can decide over a process's system calls (libcontainer.seccomp.notify)."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from addresses import listening_at, long_path
from agents import Agent
from libcontainer.configs import Seccomp, SyscallRule
from libcontainer.seccomp import compile
from libcontainer.seccomp.notify import connect, process_state
from nsenter._host import syscalls

# linux/seccomp.h
NEW_LISTENER, WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
NOTIF_RECV, NOTIF_SEND = 0xC0502100, 0xC0182101
NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
ANSWER = struct.Struct("=QqiI")  # struct seccomp_notif_resp
STATE = {"ociVersion": "1.2.0", "id": "c1", "status": "creating", "pid": 4711, "bundle": "/b"}


@pytest.fixture
def policy(tmp_path: Path) -> Seccomp:
    return Seccomp(
        "SCMP_ACT_ALLOW",
        syscalls=(SyscallRule(["umask"], "SCMP_ACT_NOTIFY"),),
        listener_path=str(tmp_path / "agent"),
        listener_metadata="of the container",
    )


def test_a_rule_that_notifies_asks_for_a_listener(policy: Seccomp) -> None:
    program = compile(policy)
    assert program.has_listener
    assert program.flags == NEW_LISTENER
    asked = policy.replace(flags=("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",))
    assert compile(asked).flags == NEW_LISTENER | WAIT_KILLABLE_RECV
    assert not compile(Seccomp("SCMP_ACT_ALLOW")).has_listener


def told_by_execute(policy: Seccomp, message: bytes, agent: Agent) -> bytes:
    """What Debian's shell prints for its mask, executed with the policy's filter."""
    program = compile(policy)
    connection = connect(policy)
    script = (
        "import sys; from nsenter._host import syscalls; syscalls.prctl('no_new_privs', 38, 1);"
        "from nsenter._inside.exec_steps import ExecSteps, execute;"
        f"confinement = ExecSteps(filter={program.code!r}, filter_flags={program.flags},"
        f" agent_fd={connection}, agent_message=sys.stdin.buffer.read());"
        "execute('/bin/sh', ['sh', '-c', 'umask 027; echo $?'], {}, confinement)"
    )
    agent.start()
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=message, stdout=subprocess.PIPE, pass_fds=[connection], check=True, timeout=60,
    )  # fmt: skip
    os.close(connection)
    agent.join(60)
    assert not agent.is_alive()
    return done.stdout


def test_an_agent_is_told_and_decides(policy: Seccomp) -> None:
    agent = Agent(Path(policy.listener_path), answer=errno.EXDEV)
    state = process_state(policy, 4711, STATE)
    told_by_execute(policy, json.dumps(state).encode(), agent)
    assert agent.arguments[-1] == 0o27  # the shell asks for its own before
    assert agent.told == [
        {
            "ociVersion": "1.2.0",
            "fds": ["seccompFd"],
            "pid": 4711,
            "metadata": "of the container",
            "state": STATE,
        }
    ]


def test_a_state_longer_than_a_socket_takes_at_once_arrives(policy: Seccomp) -> None:
    state = {**STATE, "annotations": {"long": "x" * 2_000_000}}
    agent = Agent(Path(policy.listener_path))
    told_by_execute(policy, json.dumps(state).encode(), agent)
    assert agent.told == [state]


@pytest.mark.parametrize("length", [20, 107, 108, 300, 3000])
def test_an_agent_is_reached_by_a_path_of_any_length(tmp_path: Path, length: int) -> None:
    policy = Seccomp("SCMP_ACT_ALLOW", listener_path=str(long_path(tmp_path, length)))
    with listening_at(Path(policy.listener_path)) as listener:
        os.close(connect(policy))
        listener.accept()[0].close()


@pytest.mark.parametrize(
    ("path", "number"),
    [("/nowhere/agent", errno.ENOENT), (f"/{'long' * 99}", errno.ENAMETOOLONG)],
)
def test_an_agent_that_is_not_there_is_named(policy: Seccomp, path: str, number: int) -> None:
    with pytest.raises(syscalls.Failure) as caught:
        connect(policy.replace(listener_path=path))
    assert caught.value.errno == number
    assert str(caught.value).startswith(f"failed to connect with seccomp agent {path}: ")
