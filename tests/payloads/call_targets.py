"""What the tests of calls have called in namespaces."""

from __future__ import annotations

import os
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from types import FrameType
    from typing import Any, NoReturn

KEPT: list[int] = []
KINDS = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup")


class Mine(Exception):
    """One that the caller does not take from namespaces."""


class Thing:
    """An object that pickle can send."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and other.size == self.size

    def __hash__(self) -> int:
        return self.size

    def grown(self, by: int) -> int:
        return self.size + by

    @staticmethod
    def static(value: int) -> int:
        return value + 1

    @classmethod
    def named(cls) -> str:
        return cls.__name__


def echo(value: object = None, **kwargs: Any) -> object:
    return (value, kwargs) if kwargs else value


def add(left: int, right: int = 0) -> int:
    return left + right


def where() -> dict[str, object]:
    """Read from inside."""
    return {
        "pid": os.getpid(),
        "uid": os.getuid(),
        "path": list(sys.path),
        "namespaces": {kind: posix.readlink(f"/proc/self/ns/{kind}") for kind in KINDS},
    }


def namespace(kind: str) -> str:
    return posix.readlink(f"/proc/self/ns/{kind}")


def names_of_root() -> list[str]:
    return sorted(posix.listdir("/"))


def environment(name: str) -> str | None:
    return os.environ.get(name)


def descriptors() -> list[int]:
    return sorted(int(name) for name in posix.listdir("/proc/self/fd"))


def read_input() -> bytes:
    return os.read(0, 10)


def root_of(number: float) -> float:
    import math

    return math.sqrt(number)


def addresses_of(host: str) -> list[Any]:
    import socket

    return [found[4] for found in socket.getaddrinfo(host, 80, type=socket.SOCK_STREAM)]


def as_json(value: object) -> str:
    import json

    return json.dumps(value)


def late_module() -> str:
    return __import__("colorsys").__name__


def late(name: str) -> str:
    return __import__(name, fromlist=["x"]).__name__


def say(text: str) -> None:
    print(text)
    print(text, file=sys.stderr)


def keep() -> int:
    """How often it was called in this process."""
    KEPT.append(0)
    return len(KEPT)


def pid_and_sleep(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def meet(folder: str, name: str, count: int) -> bool:
    """Whether so many calls are under way at once."""
    posix.mkdir(f"{folder}/{name}")
    deadline = time.monotonic() + 20
    while len(posix.listdir(folder)) < count:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def meet_and_tell_pid(folder: str, count: int) -> int:
    """The same for processes that share a pid namespace; the pid of this one."""
    assert meet(folder, str(os.getpid()), count)
    return os.getpid()


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def make_folder_after(path: str, seconds: float) -> None:
    time.sleep(seconds)
    posix.mkdir(path)


def make_folder_of_pid(folder: str, seconds: float) -> None:
    """Make a folder that has this process's pid for its name, and sleep."""
    posix.mkdir(f"{folder}/{os.getpid()}")
    time.sleep(seconds)


# ---- raising, dying


def divide(left: int, right: int) -> float:
    return left / right


def chain() -> NoReturn:
    try:
        divide(1, 0)
        raise AssertionError("a number can be divided by 0")
    except ZeroDivisionError as error:
        wrapped = ValueError("wrapped")
        wrapped.add_note("a note of it")
        raise wrapped from error


def throw(name: str, *args: object) -> NoReturn:
    raise getattr(__import__("builtins"), name)(*args)


def throw_mine(text: str) -> NoReturn:
    raise Mine(text)


def throw_untellable() -> NoReturn:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    raise Silent


def throw_an_escape() -> NoReturn:
    raise Mine("\x1b]0;owned\x07")


def stat(path: str) -> None:
    posix.stat(path)


def leave(status: int) -> NoReturn:
    os._exit(status)


def crash() -> None:
    import faulthandler

    faulthandler._sigsegv()  # type: ignore[attr-defined]


def signal_self(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


def eat_memory(limit: int) -> int:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    return len(bytearray(4 * limit))


# ---- enemies


def _channel() -> int:
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        worker: Any = frame.f_locals.get("self")
        if hasattr(worker, "_channel"):
            return int(worker._channel)
        frame = frame.f_back
    raise AssertionError("there is no channel")


def say_raw(*parts: bytes, pause: float = 0.0, then: str = "wait") -> None:
    """Write to the caller in the place of the worker."""
    channel = _channel()
    for part in parts:
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(channel, rest) :]
        time.sleep(pause)
    if then == "close":
        os.close(channel)
    time.sleep(30)


def say_many(head: bytes, part: bytes, count: int) -> None:
    """An answer whose body is `head` and then `part` many times."""
    channel = _channel()
    body = head + part * count
    data = memoryview(b"v" + len(body).to_bytes(8, sys.byteorder) + body)
    while data:
        data = data[os.write(channel, data) :]
    time.sleep(30)


def speak_later(data: bytes, folder: str) -> int:
    """A process that writes to the caller once there is such a folder, and ends; its pid."""
    channel = _channel()
    pid = os.fork()
    if pid == 0:
        while not os.access(folder, os.F_OK):
            time.sleep(0.01)
        os.write(channel, data)
        os._exit(0)
    return pid


def stream(part: bytes) -> None:
    channel = _channel()
    while True:
        os.write(channel, part)


def ask_for(names: Iterable[str]) -> list[str]:
    """Ask the caller for modules by names that no import statement has."""
    finder: Any = sys.meta_path[-1]
    answers = []
    for name in names:
        answer = finder._ask(name)
        answers.append(answer if isinstance(answer, str) else "sent")
    return answers


def leave_a_child_with_the_channel() -> None:
    """The caller's end of the channel sees no end, though the process is gone."""
    if os.fork() == 0:
        time.sleep(200)
    os._exit(4)


def import_in_a_fork(name: str) -> str:
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            __import__(name)
            os.write(writer, b"imported")
        except ImportError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 1000).decode()
    os.wait()
    return said


def leave_an_orphan() -> int:
    """Of which the init becomes the parent."""
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os._exit(0)
    os.wait()
    return os.getpid()


def processes() -> int:
    """How many there are in this pid namespace, zombies included."""
    return sum(name.isdecimal() for name in posix.listdir("/proc"))


def dump_memory(*_: str) -> None:
    """All that this process can read of its own memory, on stdout."""
    memory = posix.open("/proc/self/mem", posix.O_RDONLY)
    maps = posix.open("/proc/self/maps", posix.O_RDONLY)
    text = b""
    while part := posix.read(maps, 1 << 16):
        text += part
    for line in text.splitlines():
        start, end = (int(number, 16) for number in line.split()[0].split(b"-"))
        for at in range(start, end, 1 << 20):
            try:
                posix.write(1, posix.pread(memory, min(end - at, 1 << 20), at))
            except (OSError, OverflowError):  # a guard, or what the kernel maps
                break


def kill_me(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(10)


def hold_by_an_orphan(pipe: str) -> None:
    """Have a process that has left the group write to a named pipe, and keep it open."""
    if os.fork() == 0:
        os.setsid()
        os.write(os.open(pipe, os.O_WRONLY), b"x")
        time.sleep(1000)
    time.sleep(1000)


class OfTwo(IndexError, RuntimeError):
    pass


class OfNone(BaseException):
    pass


class OfStop(StopIteration):
    pass


def throw_named(name: str, *args: object) -> None:
    """An exception of a class by its full name, made without its own initialisation."""
    import importlib

    module, _, kind = name.rpartition(".")
    cls = getattr(importlib.import_module(module), kind)
    error = cls.__new__(cls, *args)
    error.args = args
    cls.__str__ = lambda self: "said"
    raise error


class OfAGroup(ExceptionGroup[Exception]):
    pass


def throw_group() -> None:
    """A group that has another one in it."""
    import struct

    inner = ExceptionGroup("inner", [OSError(2, "words", "/path"), struct.error("short")])
    raise ExceptionGroup("outer\x1b[0m", [ValueError("one"), inner])


def throw_own_group() -> None:
    raise OfAGroup("words", [ValueError("one")])


def throw_group_of_any() -> None:
    raise BaseExceptionGroup("words", [KeyboardInterrupt(), ValueError("one")])


def throw_nested(depth: int) -> None:
    error: Exception = ValueError("innermost")
    for _ in range(depth):
        error = ExceptionGroup("words", [error])
    raise error


async def a_coroutine() -> int:
    return 1


def a_generator() -> Iterator[int]:
    yield 1


async def an_async_generator() -> AsyncIterator[int]:
    yield 1


def invert(number: int) -> float:
    return 1 / number


def make_object() -> object:
    return {"x": object()}


def say_both(out: str, err: str) -> None:
    os.write(1, out.encode() + b"\n")
    os.write(2, err.encode() + b"\n")


def streams() -> dict[int | str, int]:
    """The devices that are this process's standard streams, and that of /dev/null."""
    found: dict[int | str, int] = {number: os.fstat(number).st_rdev for number in range(3)}
    return {**found, "null": os.makedev(1, 3)}
