"""Messages on the init pipe arrive as they were sent, and malformed ones are refused."""

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
            sync.send(ours.fileno(), sync.TasksFds((0,)))


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
        sync.send(ours.fileno(), sync.TasksFds((1 << 20,)))


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


MESSAGES = [
    sync.Loopback(7), sync.Devices(7), sync.Cgroup(), sync.Hooks(), sync.IdMap(3, 7), sync.Last(),
    sync.Successor(7), sync.Ready(), sync.Listener(), sync.Waiting(),
    sync.Error("mount", "a\nb \udcff", 22, ""), sync.TasksFds((7, 8)), sync.Mount(0, 7),
    sync.Agents("/agent", "{}", (7, 8)), sync.Go(),
]  # fmt: skip


def words_of(message: sync.Message) -> list[str]:
    return message.frame()[4:].decode("utf-8", "surrogateescape").split("\0")


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.word)
def test_a_message_arrives_as_it_was_sent(message: sync.Message) -> None:
    assert sync.parse(words_of(message), message.descriptors()) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.word)
def test_a_message_of_another_form_is_none(message: sync.Message) -> None:
    words, fds = words_of(message), message.descriptors()
    assert sync.parse([f"{words[0]}s", *words[1:]], fds) is None
    if isinstance(message, sync.Error):
        return  # a long subject may have cut off the words behind it
    assert sync.parse([*words, "more"], fds) is None
    assert sync.parse(words, () if fds else (7,)) is None


@pytest.mark.parametrize("index", ["", "-1", "x", "1_0", "9" * 5000])
def test_an_index_that_is_no_number_is_refused(index: str) -> None:
    assert sync.parse(["idmap", index], [7]) is None


def test_an_error_that_was_cut_off_is_an_error() -> None:
    assert sync.parse(["error", "mount"], ()) == sync.Error("mount", "", 22, "")


def test_the_drawing_shows_each_message() -> None:
    kinds = {kind for kind in vars(sync).values() if isinstance(kind, type)}
    messages = {kind.__name__ for kind in kinds if issubclass(kind, sync.Message)} - {"Message"}
    assert messages == {type(message).__name__ for message in MESSAGES}
    drawing = (sync.__doc__ or "").split("init  ")[1]
    assert {name for name in messages if name not in drawing} == set()


def test_a_receiver_that_expects_another_message_keeps_no_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sync.send(ours.fileno(), sync.Mount(0, ours.fileno()))
        with pytest.raises(sync.PeerGoneError, match="'mount' where 'go' was to come"):
            sync.expect(theirs.fileno(), sync.Go)
    # That it is closed is seen by the fixture that looks for what is left behind.
