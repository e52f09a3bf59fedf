# SPDX-License-Identifier: Apache-2.0
"""libcontainer.init.process.keys gives a container its own session keyring."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from libcontainer.configs import Seccomp, SyscallRule
from libcontainer.seccomp import compile

PRELUDE = """
import json, os
from libcontainer.init.process.keys import join_session_keyring
from nsenter._host import syscalls

def ring():
    room = bytearray(1024)
    length = syscalls.keyctl("", 6, -3, room, len(room))  # of the session
    return bytes(room[:length - 1]).decode().split(";")

def serial():
    return syscalls.keyctl("", 0, -3, 0)
"""
USER_SEARCH, OTHER_SEARCH, POSSESSOR_ALL = 0x80000, 0x8, 0x3F000000


def in_a_process(script: str) -> Any:
    command = [sys.executable, "-c", PRELUDE + script]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


@pytest.fixture
def id() -> Iterator[str]:
    # Keyrings go with the last process that has them.
    yield f"test-{uuid.uuid4()}"


@pytest.mark.parametrize(("in_userns", "search"), [(False, USER_SEARCH), (True, OTHER_SEARCH)])
def test_the_ring_is_named_for_its_container(id: str, in_userns: bool, search: int) -> None:
    script = f"join_session_keyring({id!r}, in_userns={in_userns}); print(json.dumps(ring()))"
    kind, uid, _, permissions, name = in_a_process(script)
    assert (kind, uid, name) == ("keyring", "0", f"_ses.{id}")
    assert int(permissions, 16) & search
    assert int(permissions, 16) & POSSESSOR_ALL == POSSESSOR_ALL


def test_who_comes_later_joins_the_same_ring(id: str) -> None:
    script = f"""
read, write = os.pipe()
join_session_keyring({id!r})
first = serial()
if os.fork() == 0:
    syscalls.keyctl("", 1, None)  # a ring without a name
    other = serial()
    join_session_keyring({id!r})
    os.write(write, json.dumps([first, other, serial()]).encode())
    os._exit(0)
os.wait()
print(os.read(read, 100).decode())
"""
    first, other, later = in_a_process(script)
    assert first == later != other


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSYS, "joined"),
        (errno.EPERM, "join session keyring _ses.c1: denied around this container: give"),
        (errno.EDQUOT, "join session keyring _ses.c1: too many keys: raise /proc/sys/kernel/keys"),
    ],
)
def test_only_a_kernel_without_keyrings_is_passed_over(number: int, expected: str) -> None:
    rule = SyscallRule(["keyctl"], "SCMP_ACT_ERRNO", number)
    program = compile(Seccomp("SCMP_ACT_ALLOW", syscalls=(rule,)))
    script = f"""
syscalls.prctl("", syscalls.PR_SET_NO_NEW_PRIVS, 1)
syscalls.seccomp({program.code!r}, 0)
try:
    join_session_keyring("c1")
    print(json.dumps("joined"))
except syscalls.Failure as failure:
    print(json.dumps(str(failure)))
"""
    assert in_a_process(script).startswith(expected)
