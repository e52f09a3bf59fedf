# SPDX-License-Identifier: Apache-2.0
"""runc's protocol, answered by our nsinit and by the real `runc init`."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from harness import Arm, Case, Ratio
from kit import Kit

from cases.launching import five_namespaces
from nsenter.launch import nsinit_path

__all__ = ["case"]

_QUANTITIES = ("spawn → reply", "hello → reply")
_LOG_LEVEL_INFO = "4"
_TIMEOUT = 10.0


@contextlib.contextmanager
def _inheritable_pipes() -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Both ends of the init pipe, and the write end of a log pipe."""
    ours, stub = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    log_read, log_write = os.pipe()
    ours.settimeout(_TIMEOUT)
    stub.set_inheritable(True)
    os.set_inheritable(log_write, True)
    try:
        yield ours, stub, log_write
    finally:
        ours.close()
        stub.close()
        os.close(log_read)
        os.close(log_write)


def _environment(init_fd: int, log_fd: int) -> dict[str, str]:
    """As runc sets it."""
    return {
        "PATH": os.defpath,
        "_LIBCONTAINER_INITPIPE": str(init_fd),
        "_LIBCONTAINER_LOGPIPE": str(log_fd),
        "_LIBCONTAINER_LOGLEVEL": _LOG_LEVEL_INFO,
        "_LIBCONTAINER_INITTYPE": "standard",
        "_LIBCONTAINER_FIFOFD": "-1",
    }


def _receive_line(channel: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = channel.recv(256)
        if not more:
            raise RuntimeError(f"the stub ended early, after {line!r}")
        line += more
    return line


def _end(stage0: int, reply: bytes) -> None:
    """All three are our children. Stage 2 is killed where it stands."""
    pids = json.loads(reply)
    os.kill(pids["stage2_pid"], signal.SIGKILL)
    for pid in (stage0, pids["stage1_pid"], pids["stage2_pid"]):
        os.waitpid(pid, 0)


def _talk(argv: list[str], blob: bytes) -> tuple[int, int]:
    with _inheritable_pipes() as (channel, stub, log):
        environment = _environment(stub.fileno(), log)
        started = time.perf_counter_ns()
        pid = os.posix_spawn(argv[0], argv, environment)
        if channel.recv(1) != b"\0":
            raise RuntimeError(f"{argv}: the hello byte did not come")
        hello = time.perf_counter_ns()
        channel.sendall(blob)
        reply = _receive_line(channel)
        replied = time.perf_counter_ns()
        _end(pid, reply)
    return replied - started, replied - hello


def _stub(argv: list[str], blob: bytes) -> Callable[[], tuple[int, int]]:
    return lambda: _talk(argv, blob)


def case(kit: Kit, stack: ExitStack) -> Case:
    blob = five_namespaces().encode()
    ours = Arm("nsinit", _stub([str(nsinit_path()), str(kit.noop)], blob), _QUANTITIES)
    title = "runc's protocol, answered"
    about = (
        "The same Python parent speaks it to both stubs, for five new namespaces. *spawn → reply*: "
        "from before `posix_spawn` to the line with the two pids; *hello → reply*: from the zero "
        "byte on, the stages alone. In runc's first is the copy of its own binary "
        "(CVE-2019-5736) and a second `execve`; ours, started by a foreign parent, makes no copy."
    )
    runc = kit.peer("runc")
    if runc is None:
        return Case(title, about, [ours], missing=["runc: not installed"])
    theirs = Arm("runc init", _stub([runc, "init"], blob), _QUANTITIES)
    ratios = [
        Ratio(ours.series(quantity), (theirs.series(quantity),), target)
        for quantity, target in zip(_QUANTITIES, (0.55, None), strict=True)
    ]
    return Case(title, about, [ours, theirs], ratios, seconds=15)
