"""A prebooted interpreter runs what its init config says, or ends and says why."""

from __future__ import annotations

import ast
import contextlib
import fcntl
import os
import signal
import time

import pytest

from launching import SECONDS
from nsenter import Options, PythonInit
from nsenter._interpreter.prebooted import PrebootedInit
from nsenter.errors import BootstrapError
from prebooted_inits import WAYS
from processes import children_of

NEW = Options(new="user,pid,uts,net", hostname="box")


@pytest.fixture(params=WAYS)
def waiting(request: pytest.FixtureRequest) -> PrebootedInit:
    return WAYS[request.param]("prebooted_targets:look")


def test_it_is_in_the_namespaces_with_the_descriptors_that_it_was_given(
    waiting: PrebootedInit,
) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"words")
    number = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 700)
    try:
        init = PythonInit("prebooted_targets:look", [number], prebooted=waiting)
        with NEW.launch(init, pass_fds=[number]) as child:
            assert child.channel is not None
            child.channel.settimeout(SECONDS)
            with child.channel.makefile("rb") as channel:
                seen = ast.literal_eval(channel.read().decode())
            assert child.wait(SECONDS) == 7
    finally:
        for fd in (reader, writer, number):
            os.close(fd)
    pid, host, fds, told = seen
    assert (pid, host, told) == (1, "box", [b"words"])
    assert [fd for fd in fds if fd in (0, 1, 2, number)] == [0, 1, 2, number]
    assert len(fds) == 5  # and the channel


def test_what_the_parent_fails_at_meanwhile_is_the_end_of_it(waiting: PrebootedInit) -> None:

    def fail(channel: int) -> None:
        raise ValueError("no such limit")

    waiting.meanwhile = fail
    with pytest.raises(ValueError, match="no such limit"):
        NEW.launch(PythonInit("", prebooted=waiting))


def test_one_that_is_killed_meanwhile_is_named_not_the_pipe_that_broke(
    waiting: PrebootedInit,
) -> None:
    others = children_of() - {waiting.pid}

    def kill(channel: int) -> None:
        for pid in children_of() - others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            os.write(channel, b".")  # until nobody reads

    waiting.meanwhile = kill
    try:
        child = NEW.launch(PythonInit("", prebooted=waiting))
    except BootstrapError as error:
        assert "killed by SIGKILL" in str(error)
    else:  # it was ready just before, and maybe at its end
        with child:
            assert child.wait(SECONDS) in (-signal.SIGKILL, 7)


def test_one_that_is_not_used_is_discarded_once(waiting: PrebootedInit) -> None:
    pid = waiting.pid
    waiting.discard()
    waiting.discard()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_that_has_ended_before_its_orders_is_told(waiting: PrebootedInit) -> None:
    os.kill(waiting.pid, signal.SIGKILL)
    os.waitid(os.P_PID, waiting.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(BootstrapError, match="it ended before it got its init config"):
        NEW.launch(PythonInit("", prebooted=waiting))
    waiting.discard()
