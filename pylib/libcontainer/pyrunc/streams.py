# SPDX-License-Identifier: Apache-2.0
"""Pipes between the caller's standard streams and those of a process in the foreground.

The process must not have the caller's own descriptors: through /proc/self/fd it could open a file
anew, for more than the caller has opened it for, and a terminal takes input by ioctl(2). runc has
pipes in between as well. What is in a pipe is copied with read(2) and write(2). splice(2) would put
pages of the caller's file itself into a pipe that the process can write to, which has been a way to
write to the file (CVE-2022-0847).

One loop copies all three, and passes on signals meanwhile; so nothing here may block.
"""

from __future__ import annotations

import os
import select
import stat

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import poll
from nsenter._interpreter.sealed_memory import out_of_the_streams
from nsenter.idmap import host_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from libcontainer.configs import Config
    from libcontainer.pyrunc.watch import Watch

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_CHUNK = 1 << 16
# What a blocking pipe or terminal takes at once when poll(2) says that it takes something: a page
# of a pipe; a terminal's buffer may have less room.
_SURE_OF_A_PIPE, _SURE_OF_A_TERMINAL = 4096, 256


class Streams:
    """Three pipes for the standard streams of the process.

    Args:
        config: the configuration of the container. Its root user owns the pipes, so that it can
            open /dev/stdout.

    Attributes:
        theirs: the ends that the process gets as its standard streams.
    """

    def __init__(self, config: Config) -> None:
        self._open: set[int] = set()
        ends = [self._pipe(config) for _ in range(3)]
        (stdin, self._input), (self._output, stdout), (self._errors, stderr) = ends
        self.theirs = stdin, stdout, stderr
        for fd in (self._input, self._output, self._errors):
            os.set_blocking(fd, False)
        self._copies: list[_Copy] = []

    def _pipe(self, config: Config) -> tuple[int, int]:
        reader, writer = map(out_of_the_streams, os.pipe())
        self._open |= {reader, writer}
        uid, gid = host_id(config.uid_mappings, 0), host_id(config.gid_mappings, 0)
        if uid or gid:
            with suppress(PermissionError):  # of a user who may not: it is the user's own already
                os.fchown(writer, -1 if uid is None else uid, -1 if gid is None else gid)
        return reader, writer

    def let_go(self) -> None:
        """Close this command's copies of the process's ends, to notice when they are closed."""
        for fd in self.theirs:
            self._close(fd)

    def join(self, watch: Watch) -> None:
        """Copy from now on."""
        stdin = _Copy(watch, _STDIN, self._input, _write_at_once, self._closer(self._input))
        stdin.watch_for_its_end()
        self._copies = [stdin]
        for ours, stream in ((self._output, _STDOUT), (self._errors, _STDERR)):
            sink = self._sink(stream)
            self._copies.append(_Copy(watch, ours, sink.fd, sink.write, self._closer(ours)))

    def _closer(self, fd: int) -> Callable[[], None]:
        return lambda: self._close(fd)

    def _sink(self, stream: int) -> _Sink:
        sink = _Sink(stream)
        if sink.fd != stream:
            self._open.add(sink.fd)
        return sink

    def end_input(self) -> None:
        """Read no more of the caller's input, because no process reads it."""
        self._copies[0].end()

    def has_output(self) -> bool:
        """Return whether a process may still write, or whether some output is not yet copied."""
        return any(copy.goes_on for copy in self._copies[1:])

    def show_what_is_left(self) -> None:
        """Copy what the init has written if it failed before it became the process."""
        for ours, stream in ((self._output, _STDOUT), (self._errors, _STDERR)):
            with suppress(OSError):  # nothing is left, or nobody wants it
                while data := os.read(ours, _CHUNK):
                    os.write(stream, data)

    def close(self) -> None:
        """Close all ends that are open."""
        while self._open:
            close(self._open.pop())

    def _close(self, fd: int) -> None:
        if fd in self._open:
            self._open.remove(fd)
            os.close(fd)


class _Copy:
    """Copies from one descriptor to another until one of them has ended.

    Args:
        watch: calls when there is something to read, or room to write.
        source, sink: the descriptors.
        write: writes as much to the sink as it takes at once; raises BlockingIOError if that is
            nothing.
        close: called at the end, so that the process at the other end of the pipe sees the end.

    Attributes:
        goes_on: whether neither descriptor has ended.
    """

    def __init__(
        self,
        watch: Watch,
        source: int,
        sink: int,
        write: Callable[[int, memoryview], int],
        close: Callable[[], None],
    ) -> None:
        self.goes_on = True
        self._watch = watch
        self._source = source
        self._sink = sink
        self._write = write
        self._close = close
        self._pending = memoryview(b"")
        self._idle_events: int | None = None
        watch.add(source, self._read)

    def watch_for_its_end(self) -> None:
        """Also end when no process can read from the sink any more, with nothing to write."""
        self._idle_events = 0
        self._watch.add(self._sink, self.end, 0)

    def _read(self) -> None:
        try:
            data = os.read(self._source, _CHUNK)
        except BlockingIOError:  # another reader was faster
            return
        except OSError:  # a terminal that was hung up, or what cannot be read
            data = b""
        if not data:
            self.end()
            return
        self._pending = memoryview(data)
        self._push()

    def _push(self) -> None:
        """Write what was read. Nothing more is read until all of it is written."""
        try:
            while self._pending:
                self._pending = self._pending[self._write(self._sink, self._pending) :]
        except BlockingIOError:
            self._watch.drop(self._source)
            self._watch.add(self._sink, self._push, select.POLLOUT)
            return
        except OSError:  # nobody reads it, or there is no space left
            self.end()
            return
        if self._idle_events is None:
            self._watch.drop(self._sink)
        else:
            self._watch.add(self._sink, self.end, self._idle_events)
        self._watch.add(self._source, self._read)

    def end(self) -> None:
        """Stop copying."""
        if not self.goes_on:
            return
        self.goes_on = False
        self._watch.drop(self._source)
        self._watch.drop(self._sink)
        self._close()


class _Sink:
    """A stream of the caller that is written to without blocking.

    O_NONBLOCK belongs to the open file, so setting it would make the stream non-blocking for every
    process that shares it. A pipe is therefore opened anew.

    Attributes:
        fd: the descriptor to write to: the stream, or the same pipe opened anew.
        write: the function that `_Copy` calls.
    """

    def __init__(self, stream: int) -> None:
        self.fd = stream
        self.write: Callable[[int, memoryview], int] = _write_at_once
        try:
            mode = os.fstat(stream).st_mode
        except OSError:  # not open: each write says so
            return
        if stat.S_ISFIFO(mode):
            self._open_anew()
        elif stat.S_ISSOCK(mode):
            self.write = _send
        elif os.isatty(stream):
            self.write = _write_to_a_terminal

    def _open_anew(self) -> None:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self.fd = os.open(f"/proc/self/fd/{self.fd}", flags)
        except OSError:  # it is another user's, or /proc is not there
            self.write = _write_to_a_pipe


def _write_at_once(fd: int, data: memoryview) -> int:
    return os.write(fd, data)


def _write_to_a_pipe(fd: int, data: memoryview) -> int:
    return _write_if_ready(fd, data[:_SURE_OF_A_PIPE])


def _write_to_a_terminal(fd: int, data: memoryview) -> int:
    return _write_if_ready(fd, data[:_SURE_OF_A_TERMINAL])


def _write_if_ready(fd: int, data: memoryview) -> int:
    if not poll({fd: select.POLLOUT}, 0):
        raise BlockingIOError
    return os.write(fd, data)


def _send(fd: int, data: memoryview) -> int:
    import _socket

    sock = _socket.socket(fileno=fd)
    try:
        return sock.send(data, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
    finally:
        sock.detach()
