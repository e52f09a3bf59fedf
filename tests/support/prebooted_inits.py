"""Inits that wait, as csrc/products/pyrunc.c and `prebooted.start` start them."""

from __future__ import annotations

import os
import sys

from launching import PYTHONPATH
from nsenter._host import syscalls
from nsenter._interpreter import prebooted
from nsenter._interpreter.prebooted import PrebootedInit

_SERVE = """
import importlib, sys
from nsenter._interpreter.prebooted import serve
module, _, function = sys.argv[1].partition(":")
serve(getattr(importlib.import_module(module), function), *map(int, sys.argv[2:]))
"""


def from_memory(target: str) -> PrebootedInit:
    """Args: target: "module:function"."""
    return prebooted.start(target, ["_cffi_backend", "nsenter._nsexec"])


def start(target: str) -> PrebootedInit:
    """Args: target: "module:function"."""
    channel, theirs = syscalls.socketpair()
    status, writer = os.pipe()
    for fd in (theirs, writer):
        os.set_inheritable(fd, True)
    words = [sys.executable, "-c", _SERVE, target, str(theirs), str(writer)]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    try:
        pid = os.posix_spawn(sys.executable, words, environment, setpgroup=0)
    finally:
        os.close(theirs)
        os.close(writer)
    return PrebootedInit(pid, channel, status)


WAYS = {"beside": start, "from memory": from_memory}
