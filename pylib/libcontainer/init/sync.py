# SPDX-License-Identifier: Apache-2.0
"""The dialogue between the parent and its init, on the init pipe, after the init config.

Each message is a class. Both ends use this module. In this order, where a message in brackets is
sent only if the container requires it:

    init                                    parent
     |                                        |
     |  <--------- [TasksFds], [Mount ...] -  |  cgroup v1; one Mount for each detached tree
     |  <--------- Go ---------------------   |
     |  ---------- [Loopback] ------------->  |  brings lo up
     |  ---------- [Devices] -------------->  |  moves the network devices
     |  ---------- [IdMap ...] ------------>  |  maps the ids of a tree that the init has cloned
     |  <--------- Go ---------------------   |
     |  ---------- [Cgroup] --------------->  |  moves the init into its cgroup
     |  <--------- Go ---------------------   |
     |  <--------- [TasksFds] -------------   |  or the init moves itself, without being asked to
     |  ---------- [Hooks] ---------------->  |  runs the hooks prestart and createRuntime
     |  <--------- Go ---------------------   |
     |  ---------- [Last] ----------------->  |  from here on, others can see the init
     |  <--------- Go ---------------------   |
     |  ---------- [Successor] ------------>  |  goes on with that process, which gets the answer
     |  <--------- Go ---------------------   |
     |  ---------- Ready ------------------>  |  saves the state
     |  <--------- Go ---------------------   |
     |  ---------- [Listener] ------------->  |  connects to the seccomp agent
     |  <--------- Agents -----------------   |
     |  ---------- [Waiting] -------------->  |  closes the pipe: the init is at the exec fifo
     x                                        |  or else execve(2) closes it: the program runs

    at any time:
     |  ---------- Error ------------------>  |  in place of the rest
     x                                        |  without an Error: the init has died

A further process sends only Ready, Listener and Error, because it has nothing else to ask for.
"""

from __future__ import annotations

import errno

from libcontainer.init import frames
from libcontainer.init.frames import PeerGoneError
from nsenter._host.cleanup import close
from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    M = TypeVar("M", bound="Message")

__all__ = [
    "FROM_INIT",
    "Agents",
    "Cgroup",
    "Devices",
    "Error",
    "Go",
    "Hooks",
    "IdMap",
    "Last",
    "Listener",
    "Loopback",
    "Message",
    "Mount",
    "PeerGoneError",
    "Ready",
    "Successor",
    "TasksFds",
    "Waiting",
    "ask",
    "expect",
    "parse",
    "receive_until_go",
    "send",
]  # fmt: skip

_LONGEST_NUMBER = 10  # digits


class Message(Value):
    """A message. Its fields are the words after the first, and the descriptors that come with it.

    Attributes:
        word: the first word, by which the messages are told apart.
        carries: the name of the field that holds a descriptor, or several; "" means none.
        most_fds: how many descriptors it may have at most. With 1, the field is an int.
        longest: how many bytes it may have.
        is_answered: whether the parent answers with `Go`.
    """

    word = ""
    carries = ""
    most_fds = 1
    longest = frames.LONGEST
    is_answered = False

    def frame(self) -> bytes:
        """Return the message as it is sent, without descriptors."""
        return frames.pack(self._words(), self.longest)

    def _words(self) -> tuple[str, ...]:
        values = (str(v) for name, v in self.__dict__.items() if name != self.carries)
        return (self.word, *values)

    def descriptors(self) -> tuple[int, ...]:
        """Return the descriptors that are sent with the message."""
        if not self.carries:
            return ()
        value: int | tuple[int, ...] = self.__dict__[self.carries]
        return (value,) if isinstance(value, int) else value

    @classmethod
    def of(cls, words: Sequence[str], fds: Sequence[int]) -> Message | None:
        """Return the message for the words after the first; None if they do not fit."""
        names = [name for name in cls._fields if name != cls.carries]
        if len(words) != len(names) or bool(fds) != bool(cls.carries):
            return None
        values: dict[str, object] = dict(zip(names, words, strict=True))
        for name, word in zip(names, words, strict=True):
            if cls.__annotations__[name] == "int":
                values[name] = number = _number(word)
                if number < 0:
                    return None
        if cls.carries:
            values[cls.carries] = fds[0] if cls.most_fds == 1 else tuple(fds)
        return cls(**values)


def _number(word: str) -> int:
    """Return the number that a word is; -1 if it is none, or too long to be meant as one."""
    return int(word) if word.isdecimal() and len(word) <= _LONGEST_NUMBER else -1


# ---- from the init


class Loopback(Message):
    """Bring up lo of the network namespace that a socket belongs to. There is no answer."""

    word, carries = "loopback", "socket"
    socket: int


class Devices(Message):
    """Move the network devices to the network namespace that a socket of rtnetlink(7) belongs to.

    There is no answer.
    """

    word, carries = "devices", "socket"
    socket: int


class Cgroup(Message):
    """Move the init into its cgroup. The answer is `Go`."""

    word, is_answered = "cgroup", True


class Hooks(Message):
    """The root is made, and not entered yet: run the hooks of this moment. The answer is `Go`."""

    word, is_answered = "hooks", True


class IdMap(Message):
    """Map the ids of a detached tree, as its mount requires. The answer is `Go`."""

    word, carries, is_answered = "idmap", "tree", True
    index: int  # of the mount in the configuration
    tree: int


class Last(Message):
    """Everything that requires the host is done.

    After the answer, `Go`, the init joins the PID namespace.
    """

    word, is_answered = "last", True


class Successor(Message):
    """The process of this pidfd goes on instead of the init, and gets the answer, `Go`."""

    word, carries, is_answered = "successor", "pidfd", True
    pidfd: int


class Ready(Message):
    """Everything is set up that can be taken back. The answer is `Go`."""

    word, is_answered = "ready", True


class Listener(Message):
    """The filter has a listener. The answer is `Agents`."""

    word = "listener"


class Waiting(Message):
    """The init waits at the exec fifo, and has nothing else to do. This is the last message."""

    word = "waiting"


class Error(Message):
    """A step has failed, and the init ends. csrc/inside/exec_steps.c sends this message too."""

    word = "error"
    operation: str
    subject: str
    number: int  # an errno
    why: str

    @classmethod
    def of(cls, words: Sequence[str], fds: Sequence[int]) -> Message | None:
        """Return the message. A long subject may have cut off the words that follow it."""
        operation, subject, number, why = (*words, "", "", "", "")[:4]
        found = _number(number)
        return cls(operation, subject, found if found >= 0 else errno.EINVAL, why)


# ---- from the parent


class TasksFds(Message):
    """Descriptors of files by which the init moves itself into its cgroups."""

    word, carries, most_fds = "tasks_fds", "fds", 64  # one for each hierarchy of cgroup v1
    fds: tuple[int, ...]


class Mount(Message):
    """The detached tree for a mount."""

    word, carries = "mount", "tree"
    index: int  # of the mount in the configuration
    tree: int


class Agents(Message):
    """Connections to the seccomp agent, where it listens, and what to tell it."""

    word, carries, most_fds = "agents", "fds", 250  # the kernel's SCM_MAX_FD is 253
    longest = 1 << 24  # the state for the agent has the annotations of config.json in it
    path: str
    state: str
    fds: tuple[int, ...]

    def frame(self) -> bytes:
        """Return the message. Raise ValueError if it is too long for an agent."""
        frame = frames.pack(self._words(), self.longest + 1)
        if len(frame) > self.longest:
            raise ValueError(f"the state for the seccomp agent has over {self.longest} bytes")
        return frame


class Go(Message):
    """The parent has done what it was asked for."""

    word = "go"


FROM_INIT = (
    *(Loopback, Devices, Cgroup, Hooks, IdMap, Last, Successor, Ready, Listener, Waiting, Error),
)
_FROM_PARENT = (TasksFds, Mount, Agents, Go)
_KINDS: dict[str, type[Message]] = {kind.word: kind for kind in (*FROM_INIT, *_FROM_PARENT)}


def parse(words: Sequence[str], fds: Sequence[int]) -> Message | None:
    """Return the message in a frame; None if it is not one."""
    kind = _KINDS.get(words[0])
    return kind.of(words[1:], fds) if kind else None


def send(fd: int, message: Message, *, deadline: float | None = None) -> None:
    """Send a message. For the errors, see `libcontainer.init.frames.send`."""
    frames.send(fd, message.frame(), message.descriptors(), deadline=deadline)


# ---- the init's end


def ask(fd: int, message: Message) -> None:
    """Send a message, and wait for the answer `Go`."""
    send(fd, message)
    expect(fd, Go)


def expect(fd: int, kind: type[M]) -> M:
    """Wait for a message, and return it.

    Raises:
        PeerGoneError: another message came, or none.
    """
    words, fds = frames.receive(fd, kind.most_fds, kind.longest)
    message = parse(words, fds)
    if not isinstance(message, kind):
        close(*fds)
        raise _not_expected(words, kind)
    return message


def receive_until_go(fd: int) -> tuple[tuple[int, ...], dict[int, int]]:
    """Return what comes before the first `Go`: `tasks` files, and trees by index of mount."""
    tasks_fds: tuple[int, ...] = ()
    trees: dict[int, int] = {}
    while True:
        words, fds = frames.receive(fd, TasksFds.most_fds)
        message = parse(words, fds)
        if isinstance(message, Go):
            return tasks_fds, trees
        if isinstance(message, TasksFds):
            tasks_fds = message.fds
        elif isinstance(message, Mount):
            trees[message.index] = message.tree
        else:
            raise _not_expected(words, Go)


def _not_expected(words: Sequence[str], kind: type[Message]) -> PeerGoneError:
    return PeerGoneError(f"{words[0]!r} where {kind.word!r} was to come")
