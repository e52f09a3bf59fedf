"""A process that forges the reply of stage 2 cannot name a process of somebody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nsenter._launch.descriptors import Descriptors, Pipes
from nsenter._launch.handshake import Handshake
from nsenter.errors import BootstrapError

SECONDS = 20.0


@pytest.fixture
def stage_0() -> Iterator[tuple[int, int]]:
    """The leader of a process group, as stage 0 is; and its pidfd."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        pidfd = os.pidfd_open(process.pid)
        try:
            yield process.pid, pidfd
        finally:
            os.close(pidfd)
            process.kill()


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that is no child of this one."""
    script = (
        "import subprocess; print(subprocess.Popen(['sleep', '1000'], stdout=-3, stderr=-3).pid)"
    )
    done = subprocess.run(["python3", "-c", script], capture_output=True, check=True, text=True)
    pid = int(done.stdout)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("with_pidfd", [False, True])
def test_a_stranger_is_not_taken_for_stage_2(
    stage_0: tuple[int, int], stranger: int, with_pidfd: bool
) -> None:
    ours, theirs = socket.socketpair()
    reader, writer = os.pipe()
    pidfd = os.pidfd_open(stranger)
    try:
        reply = b'\0{"stage1_pid":0,"stage2_pid":%d}\n' % stranger
        theirs.send(reply[:1])
        socket.send_fds(theirs, [reply[1:]], [pidfd] if with_pidfd else [])
        with Descriptors() as owner, Pipes(owner, [ours.detach(), reader]) as pipes:
            talk = Handshake(*stage_0, pipes)
            with pytest.raises(BootstrapError, match=f"names pid {stranger} as stage 2"):
                talk.run(memoryview(b""), SECONDS, 0)
        os.kill(stranger, 0)  # it lives
    finally:
        for fd in (writer, pidfd):
            os.close(fd)
        theirs.close()


def test_a_program_that_ends_at_once_is_told_where_sigchld_is_ignored() -> None:
    """The kernel reaps it before its number can be looked at."""
    code = """
import signal, nsenter
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in range(100):
    nsenter.Popen(["true"], nsenter.Options(new="user,pid", cwd="/")).wait()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
