# SPDX-License-Identifier: Apache-2.0
"""asyncio.subprocess for namespaces.

A process is started in a thread of the loop's executor, so that the loop goes on meanwhile: a
start takes a millisecond, and with a mapping tool or a slow disk any number of them. Its end is
seen by its pidfd: no child watcher, no SIGCHLD, and any thread's loop will do.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import base_subprocess, subprocess
from functools import partial
from threading import Lock

from nsenter.popen import Popen
from nsenter.suppress import suppress
from nsenter.undo import undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from nsenter.options import Options
    from nsenter.popen_types import Path, Stream, Surroundings
    from nsenter.usage import Usage

__all__ = ["Process", "create_subprocess_exec", "create_subprocess_shell"]

_LIMIT = 1 << 16
# asyncio's status of a process whose own is lost.
_UNKNOWN = 255
_BYTES_ONLY = ("text", "universal_newlines", "encoding", "errors", "bufsize")


class Process(subprocess.Process):
    """An asyncio.subprocess.Process that can be joined: `Options(join=process)`."""

    def __init__(
        self,
        transport: _Transport,
        protocol: subprocess.SubprocessStreamProtocol,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(transport, protocol, loop)
        self._popen = transport.popen

    @property
    def pidfd(self) -> int:
        """Its descriptor; -1 once it has ended."""
        return self._popen.pidfd

    @property
    def usage(self) -> Usage | None:
        """What it has used (see `nsenter.Popen.usage`); None until it has ended."""
        return self._popen.usage


async def create_subprocess_exec(
    program: Path,
    *args: Path,
    options: Options | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    limit: int = _LIMIT,
    **popen: Unpack[Surroundings],
) -> Process:
    """Start a program in namespaces, as asyncio.create_subprocess_exec does without.

    Args:
        program, args: its words.
        options: how it is isolated; None: not at all.
        stdin, stdout, stderr: as there: a pipe is a StreamWriter or a StreamReader.
        limit: bytes that a StreamReader buffers.
        The others are those of `nsenter.Popen`; text is for the caller to decode.

    Raises:
        BootstrapError: it could not be started.
        ValueError, TypeError: an argument is bad; nothing was started.
    """
    return await _create((program, *args), options, (stdin, stdout, stderr), limit, popen)


async def create_subprocess_shell(
    cmd: str | bytes,
    options: Options | None = None,
    *,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    limit: int = _LIMIT,
    **popen: Unpack[Surroundings],
) -> Process:
    """Start a command of the shell in namespaces; the rest is as for `create_subprocess_exec`."""
    if not isinstance(cmd, (str, bytes)):
        raise TypeError(f"cmd {cmd!r}: expected a string, which is the shell's to split")
    return await _create(cmd, options, (stdin, stdout, stderr), limit, {**popen, "shell": True})


async def _create(
    args: Any,
    options: Options | None,
    streams: tuple[Stream, Stream, Stream],
    limit: int,
    popen: Any,
) -> Process:
    for name in _BYTES_ONLY:
        if popen.pop(name, None):
            raise ValueError(f"{name}: the streams of asyncio are bytes: decode what is read")
    stdin, stdout, stderr = streams
    start = _Start(
        partial(Popen, args, options, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=0, **popen)
    )
    loop = asyncio.get_running_loop()
    try:
        process = await loop.run_in_executor(None, start)
    except BaseException as error:  # cancelled, for one
        undo(error, start.abandon)
        raise
    protocol = subprocess.SubprocessStreamProtocol(limit=limit, loop=loop)
    connected = loop.create_future()
    try:
        transport = _Transport(loop, protocol, process, connected)
    except BaseException as error:
        undo(error, lambda: _discard(process))
        raise
    try:
        await connected
    except BaseException:
        transport.close()
        await transport._wait()
        raise
    return Process(transport, protocol, loop)


class _Start:
    """A start in a thread. It cannot be interrupted: who gives up waiting abandons it."""

    def __init__(self, popen: partial[Popen[bytes]]) -> None:
        self._popen = popen
        self._lock = Lock()
        self._abandoned = False
        self._process: Popen[bytes] | None = None

    def __call__(self) -> Popen[bytes]:
        process = self._popen()
        with self._lock:
            self._process = process
            if self._abandoned:
                _discard(process)
        return process

    def abandon(self) -> None:
        """Nobody will have the process."""
        with self._lock:
            self._abandoned = True
            if self._process is not None:
                _discard(self._process)


def _discard(process: Popen[bytes]) -> None:
    with process:
        process.kill()


class _Transport(base_subprocess.BaseSubprocessTransport):
    """asyncio's, for a process that runs already.

    Args:
        connected: is told when the pipes are.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.SubprocessProtocol,
        process: Popen[bytes],
        connected: asyncio.Future[None],
    ) -> None:
        self.popen = process
        self._watched = -1
        pipes = (process.stdin, process.stdout, process.stderr)
        stdin, stdout, stderr = (pipe and subprocess.PIPE for pipe in pipes)
        super().__init__(
            loop, protocol, "nsenter.Popen", False, stdin, stdout, stderr, 0, connected
        )
        loop.add_reader(self._watched, self._ended)

    def _start(self, *_: Any, **__: Any) -> None:
        # A descriptor of our own: the process's is closed by whoever takes its status.
        self._watched = os.dup(self.popen.pidfd)
        self._proc = self.popen

    def _ended(self) -> None:
        self._loop.remove_reader(self._watched)
        self._stop_watching()
        status = self.popen._internal_poll(_deadstate=_UNKNOWN)
        assert status is not None
        self._process_exited(status)

    def _stop_watching(self) -> None:
        if self._watched >= 0:
            os.close(self._watched)
            self._watched = -1

    def send_signal(self, signal: int) -> None:
        """By the pidfd."""
        self._check_proc()
        self.popen.send_signal(signal)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._check_proc()
        self.popen.terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._check_proc()
        self.popen.kill()

    def __del__(self) -> None:
        if self._watched >= 0:  # its loop is gone, and nobody will see its end
            self._stop_watching()
            self.popen.kill()
        with suppress(RuntimeError):  # closing the pipes takes the loop too
            super().__del__()
