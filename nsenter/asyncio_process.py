# SPDX-License-Identifier: Apache-2.0
"""asyncio.subprocess for namespaces.

A process is started in a thread of the loop's executor, so that the loop is not blocked: a start
takes a millisecond, or longer with a mapping tool or a slow disk. The pidfd tells when the process
has ended. This requires no child watcher and no SIGCHLD handler, and works with the loop of any
thread.
"""

from __future__ import annotations

import asyncio
import os
from asyncio import base_subprocess, subprocess
from functools import partial
from threading import Lock
from typing import Any, Unpack

from nsenter._host.cleanup import undo
from nsenter._host.suppress import suppress
from nsenter._launch.popen_types import Path, ProcessArguments, Stream
from nsenter._launch.usage import Usage
from nsenter.options import Options
from nsenter.popen import Popen

__all__ = ["Process", "create_subprocess_exec", "create_subprocess_shell"]

_LIMIT = 1 << 16
# The status that asyncio reports if the real one is lost.
_UNKNOWN = 255
_BYTES_ONLY = ("text", "universal_newlines", "encoding", "errors", "bufsize")


class Process(subprocess.Process):
    """An asyncio.subprocess.Process in namespaces. `Options(join=process)` joins them."""

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
        """The pidfd; -1 after the process has ended."""
        return self._popen.pidfd

    @property
    def usage(self) -> Usage | None:
        """The resources that the process used, as in `nsenter.Popen.usage`; None until it ends."""
        return self._popen.usage


async def create_subprocess_exec(
    program: Path,
    *args: Path,
    options: Options | None = None,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    limit: int = _LIMIT,
    **popen: Unpack[ProcessArguments],
) -> Process:
    """Start a program in namespaces, like asyncio.create_subprocess_exec.

    Args:
        program, args: the program and its arguments.
        options: how the process is isolated; None means not at all.
        stdin, stdout, stderr: as in asyncio: a pipe is a StreamWriter or a StreamReader.
        limit: how many bytes a StreamReader buffers.
        **popen: other arguments of `nsenter.Popen`, except those for text: the streams are bytes.

    Returns:
        The process, an asyncio.subprocess.Process.

    Raises:
        BootstrapError: the process could not be started.
        ValueError, TypeError: an argument is not valid; nothing was started.
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
    **popen: Unpack[ProcessArguments],
) -> Process:
    """Start a shell command in namespaces, like asyncio.create_subprocess_shell.

    Args:
        cmd: the command, which the shell /bin/sh splits into words.
        options, stdin, stdout, stderr, limit, **popen: as for `create_subprocess_exec`.

    Returns:
        The process, an asyncio.subprocess.Process.

    Raises:
        BootstrapError: the process could not be started.
        ValueError, TypeError: an argument is not valid; nothing was started.
    """
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
    except BaseException as error:  # for example, the task was cancelled
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
    """A start in a thread. It cannot be interrupted: a caller that stops waiting abandons it."""

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
        """Kill the process, now or when it has started: no caller will have it."""
        with self._lock:
            self._abandoned = True
            if self._process is not None:
                _discard(self._process)


def _discard(process: Popen[bytes]) -> None:
    with process:
        process.kill()


class _Transport(base_subprocess.BaseSubprocessTransport):
    """asyncio's transport, for a process that is running already.

    Args:
        connected: a future that is done when the pipes are connected.
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
        # This needs its own descriptor: the call that takes the status closes the process's.
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
        """Send a signal through the pidfd."""
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
        if self._watched >= 0:  # the loop is closed, and nobody would see the process end
            self._stop_watching()
            self.popen.kill()
        with suppress(RuntimeError):  # closing the pipes requires the loop
            super().__del__()
