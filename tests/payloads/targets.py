"""Functions for a PythonInit to run. All that is imported is built into the interpreter."""

from __future__ import annotations

import posix
import sys

_CHUNK = 1 << 20


def answer(channel: int, *args: object) -> None:
    """Say with what it was called, on the channel."""
    posix.write(channel, repr((args, sys.argv)).encode())


def echo(channel: int) -> None:
    """Send back what comes, in upper case, until there is no more."""
    while data := posix.read(channel, _CHUNK):
        sent = 0
        data = data.upper()
        while sent < len(data):
            sent += posix.write(channel, data[sent:])


def leave(channel: int, how: object) -> object:
    """What a target returns is its exit status; one that is a signal's name ends by it."""
    if how == "SIGKILL":
        posix.kill(posix.getpid(), 9)
    if how == "raise":
        raise RuntimeError("as asked")
    return how


def surroundings(channel: int) -> None:
    """What the boot could have left behind, on stdout."""
    import os

    found = {
        "os.environ": dict(os.environ),
        "libc": {name: os.getenv(name) for name in ("LD_PRELOAD", "PYTHONHOME", "TZ", "CASE")},
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "executable": sys.executable,
        "inheritable": posix.get_inheritable(channel),
    }
    posix.write(1, repr(found).encode() + b"\n")


def dumpable(channel: int) -> int:
    """prctl(PR_GET_DUMPABLE)."""
    import ctypes

    return int(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))


def import_late(channel: int, name: str) -> None:
    __import__(name)
