"""The init pipe: who has lost the other end is told so in one way, whatever it was about to do."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from libcontainer.init import frames, sync
from nsenter._host.syscalls import Failure


def test_a_message_with_descriptors_to_nobody_is_a_broken_pipe_as_one_without() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        with pytest.raises(BrokenPipeError):
            sync.send(ours.fileno(), sync.Go())
        with pytest.raises(BrokenPipeError):
            sync.send(ours.fileno(), sync.Doors((0,)))


def test_a_reset_is_of_its_own_class() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"unread")
        theirs.close()
        with pytest.raises(ConnectionResetError):
            frames.receive(ours.fileno())


def test_another_failure_says_its_operation() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Failure, match="sendmsg descriptors"):
        sync.send(ours.fileno(), sync.Doors((1 << 20,)))


def test_a_long_message_to_who_does_not_read_ends_at_the_deadline() -> None:
    """What an agent is told has the annotations of config.json in it: no socket holds all of it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        # A write that waits would do so for ever: here it gives up after 15 s.
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 15, 0))
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            agents = sync.Agents("/agent", "x" * (4 << 20), (0,))
            sync.send(ours.fileno(), agents, deadline=time.monotonic() + 0.1)
        assert time.monotonic() - began < 12
