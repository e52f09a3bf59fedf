"""The init pipe: who has lost the other end is told so in one way, whatever it was about to do."""

from __future__ import annotations

import socket

import pytest

from libcontainer.init import sync
from nsenter.system import Failure


def test_a_message_with_descriptors_to_nobody_is_a_broken_pipe_as_one_without() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        with pytest.raises(BrokenPipeError):
            sync.send(ours.fileno(), sync.GO)
        with pytest.raises(BrokenPipeError):
            sync.send_with_fds(ours.fileno(), [0], sync.DOORS)


def test_a_reset_is_of_its_own_class() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"unread")
        theirs.close()
        with pytest.raises(ConnectionResetError):
            sync.receive(ours.fileno())


def test_another_failure_says_its_operation() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(Failure, match="sendmsg descriptors"):
        sync.send_with_fds(ours.fileno(), [1 << 20], sync.DOORS)
