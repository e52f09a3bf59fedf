# SPDX-License-Identifier: Apache-2.0
"""The launcher's side of the bootstrap: one talk with the stages, from the spawn to the payload.

The stages are all children of this process, in a process group of their own (stage 2 leaves
it when it is told to go on), so that whatever happens all of them can be found and reaped.
"""

from __future__ import annotations

import os
import time
from _signal import SIGKILL
from errno import ECANCELED, ECONNRESET, EPIPE, EPROTO, ETIMEDOUT

from nsenter import plainjson
from nsenter.child import Child, TracePoint
from nsenter.errors import BootstrapError
from nsenter.suppress import suppress
from nsenter.system import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    Failure,
    peek,
    pidfd_open,
    poll,
    receive_fds,
    send_signal,
)
from nsenter.undo import close, undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nsenter.descriptors import Pipes

__all__ = ["Conversation"]

_CHUNK = 1 << 16
# How long the other stages may take to notice that one has failed.
_AFTERMATH = 1.0


class Conversation:
    """Sends the messages, and follows what the stages report until the payload has taken over.

    Args:
        pid, pidfd: of stage 0; neither is closed here.
        pipes: the init pipe and the status pipe; `hold` closes our copies of the child's ends.
    """

    def __init__(self, pid: int, pidfd: int, pipes: Pipes) -> None:
        self._pid = pid
        self._pidfd = pidfd
        self._pipes = pipes
        self._channel = pipes.channel
        self._status = pipes.status
        self._said_hello = False
        self._stage1_fd = -1
        self._stage2 = 0
        self._stage2_fd = -1
        self._ready = False
        self._ended = False  # nobody is left who could report
        self._errors: list[dict[str, Any]] = []
        self._trace: list[TracePoint] = []
        self._partial = b""
        self._held = False

    def hold(
        self,
        outgoing: memoryview,
        timeout: float,
        spawned_ns: int,
        meanwhile: Callable[[], None] = lambda: None,
        held: bool = False,
    ) -> Child:
        """Have the talk. Returns the process in stage 2, its channel not yet decided on.

        Args:
            outgoing: what is left to send.
            timeout: seconds.
            spawned_ns: when stage 0 was started, of CLOCK_REALTIME.
            meanwhile: called when stage 2 is made and all is sent; what it raises is the end of the
                stages, and raised.
            held: whether the payload is to wait: the talk is over when it is ready, and `rest` has
                the end of it.

        Raises:
            BootstrapError: it did not come to the payload; all stages are gone then.
        """
        self._held = held
        try:
            self._pipes.close_child_ends()
            self._talk(outgoing, time.monotonic() + timeout, meanwhile)
            # The status pipe may have ended before the reply was read that came first.
            self._read_last_reply()
            if self._errors or not self._ready:
                raise self._failure()
        except BaseException as error:
            undo(error, self._learn_of_stage2, self._destroy_stage2, self._destroy_group)
            raise
        else:
            self._reap_stages()
        finally:
            if self._stage1_fd >= 0:
                close(self._stage1_fd)
        if self._trace:
            self._trace.append(TracePoint("launcher", "spawn", spawned_ns))
            self._trace.append(TracePoint("launcher", "ready", time.time_ns()))
            self._trace.sort(key=lambda point: point.ns)
        child = Child(self._stage2, self._stage2_fd, self._trace)
        if held:
            self._status = os.dup(self._status)
            child.rest = self.rest
        return child

    def rest(self, go: bool) -> BootstrapError | None:
        """What came of a payload that was held; called once.

        Args:
            go: whether it was let go; else this is only closed.
        """
        try:
            while go and self._read_status():
                pass
        finally:
            close(self._status)
        return self._failure() if self._errors else None

    # ---- talking

    def _talk(
        self, outgoing: memoryview, deadline: float, meanwhile: Callable[[], None] | None
    ) -> None:
        os.set_blocking(self._channel, False)
        watched = {self._status: POLLIN, self._channel: POLLIN | (POLLOUT if outgoing else 0)}
        while True:
            for fd, events in self._wait(watched, deadline):
                if fd == self._status:
                    if not self._read_status() or (self._held and self._ready):
                        return
                    continue
                if events & POLLOUT:
                    outgoing = self._send(outgoing)
                if events & (POLLIN | POLLHUP):
                    self._read_reply()
                self._watch_channel(watched, outgoing, events)
            if meanwhile and self._stage2 and not outgoing:
                self._use_the_time(meanwhile)
                meanwhile = None
            if self._errors:
                deadline = min(deadline, time.monotonic() + _AFTERMATH)

    def _use_the_time(self, meanwhile: Callable[[], None]) -> None:
        os.set_blocking(self._channel, True)  # it may be full still
        try:
            meanwhile()
        except OSError as error:
            if error.errno not in (EPIPE, ECONNRESET):
                raise
            # Why nobody reads any more, the status pipe tells.
        finally:
            os.set_blocking(self._channel, False)

    def _wait(self, watched: dict[int, int], deadline: float) -> list[tuple[int, int]]:
        left = deadline - time.monotonic()
        events = poll(watched, left) if left > 0 else []
        if not events:
            raise self._failure() if self._errors else self._timed_out()
        return events

    def _watch_channel(self, watched: dict[int, int], outgoing: memoryview, events: int) -> None:
        """Go on with what is still to come; what follows the reply is not ours to read."""
        wanted = (POLLOUT if outgoing else 0) | (0 if self._stage2 else POLLIN)
        if not wanted or events & (POLLHUP | POLLERR):
            watched.pop(self._channel, None)
        else:
            watched[self._channel] = wanted

    def _send(self, outgoing: memoryview) -> memoryview:
        try:
            return outgoing[os.write(self._channel, outgoing[:_CHUNK]) :]
        except BlockingIOError:
            return outgoing
        except (BrokenPipeError, ConnectionResetError):
            return outgoing[:0]  # why they are gone, the status pipe tells

    def _peek(self) -> bytes:
        try:
            return peek(self._channel, 256)
        except Failure:  # nothing yet, or nobody any more
            return b""

    def _read_reply(self) -> None:
        """The zero byte of a stage 0 that runs, then its line with the pids and a pidfd."""
        if self._stage2:
            return
        seen = self._peek()
        if seen.startswith(b"\0"):
            self._said_hello = True
            os.read(self._channel, 1)
            seen = self._peek()
        end = seen.find(b"\n") + 1
        if not end:
            return
        line, fds = receive_fds(self._channel, end, 1)
        pids = plainjson.loads(line.decode())
        self._stage2, self._stage2_fd = self._checked(pids["stage2_pid"], fds)
        if pids["stage1_pid"]:
            with suppress(ProcessLookupError):  # it has ended, and SIGCHLD is ignored
                self._stage1_fd = pidfd_open(pids["stage1_pid"])

    def _checked(self, pid: int, fds: list[int]) -> tuple[int, int]:
        """Who is said to be stage 2: a living child of ours. A process that stage 2 has joined may
        write to the init pipe, if it has CAP_SYS_PTRACE, and the answer decides whom we kill."""
        try:
            fd = fds[0] if fds else pidfd_open(pid)
        except OSError:
            if _is_living_child(os.P_PID, pid):
                self._stage2 = pid  # there is no room for a pidfd: it is killed by its number
            raise
        if _is_living_child(os.P_PID, pid) and _is_living_child(os.P_PIDFD, fd):
            return pid, fd
        if _is_reaped(pid, fd):
            return pid, fd
        close(fd)
        why = f"stage 2 is said to be the pid {pid}, which is no child of this process"
        raise BootstrapError("parent", "reply", why, EPROTO)

    def _read_status(self) -> bool:
        """Take in what is reported; False when nobody is left who could report."""
        data = os.read(self._status, _CHUNK)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(plainjson.loads(line.decode()))
        self._ended = not data
        return bool(data)

    def _take(self, record: dict[str, Any]) -> None:
        if record["type"] == "error":
            self._errors.append(record)
        elif record["type"] == "trace":
            self._trace.append(TracePoint(record["stage"], record["point"], record["ns"]))
        elif record["type"] == "ready":
            self._ready = True

    # ---- failing

    def _failure(self) -> BootstrapError:
        # A stage that only saw another one end is a witness, not the cause.
        causes = [e for e in self._errors if e["operation"] != "sync"]
        if not causes and (killed := self._killed_stage()):
            return killed
        for error in causes or self._errors:
            subject = os.fsdecode(error["subject"].encode("latin-1"))  # a byte was an escape each
            return BootstrapError(error["stage"], error["operation"], subject, error["errno"])
        if not self._said_hello:
            return BootstrapError("parent", "start", "it ended before its first word", ECANCELED)
        return BootstrapError("launcher", "wait", "the stages ended early", ECANCELED)

    def _timed_out(self) -> BootstrapError:
        waiting_for = "stage 2 (init)" if self._stage2 else "stage 0 and 1"
        return BootstrapError("launcher", "wait", waiting_for, ETIMEDOUT)

    def _killed_stage(self) -> BootstrapError | None:
        for stage, which, number in (
            ("child", os.P_PIDFD, self._stage1_fd),
            ("init", os.P_PIDFD, self._stage2_fd),
            ("parent", os.P_PIDFD, self._pidfd),
            ("child", os.P_PGID, self._pid),
        ):
            # A process closes its descriptors a moment before it is a zombie: when all have,
            # and none has become the payload, waiting for one to be is safe, and short.
            ended = _peek_at_the_dead(which, number, wait=self._ended and not self._ready)
            if ended and ended.si_code != os.CLD_EXITED:
                return BootstrapError.killed(stage, ended.si_status)
        if self._ended and not self._ready and not self._stage2:
            # All have ended. Stage 1 is one of the group whose pid nobody has told us yet.
            for ended in iter(lambda: _bury_one(self._pid), None):
                if ended.si_code != os.CLD_EXITED:
                    return BootstrapError.killed("child", ended.si_status)
        return None

    # The steps that kill and reap whatever there is.

    def _learn_of_stage2(self) -> None:
        with suppress(OSError):
            self._read_last_reply()

    def _destroy_group(self) -> None:
        """Stage 0 leads the group: while it is a zombie its number cannot mean anybody else, so the
        group is killed before any of it is reaped."""
        with suppress(ProcessLookupError, PermissionError):
            # Reaped already by somebody else, its number may be anybody's.
            send_signal(self._pidfd, self._pid, 0)
            os.killpg(self._pid, SIGKILL)
        while _reap(os.P_PGID, self._pid):
            pass
        # One that was killed before it could make the group is not in it.
        _reap(os.P_PIDFD, self._pidfd)

    def _destroy_stage2(self) -> None:
        """By its pid where there was no room for a pidfd: it is our child and not reaped yet."""
        if not self._stage2:
            return
        if self._stage2_fd < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._stage2, SIGKILL)
            _reap(os.P_PID, self._stage2)
            return
        with suppress(ProcessLookupError, PermissionError):
            send_signal(self._stage2_fd, self._stage2, SIGKILL)
        _reap(os.P_PIDFD, self._stage2_fd)
        close(self._stage2_fd)
        self._stage2, self._stage2_fd = 0, -1

    def _read_last_reply(self) -> None:
        """Stage 2 leaves the group only after the reply is sent: then we must know its pid."""
        with suppress(BlockingIOError, ConnectionResetError, ValueError, KeyError):
            os.set_blocking(self._channel, False)
            self._read_reply()

    def _reap_stages(self) -> None:
        _reap(os.P_PIDFD, self._pidfd)
        if self._stage1_fd >= 0:
            _reap(os.P_PIDFD, self._stage1_fd)


def _reap(which: int, number: int) -> bool:
    """Wait for one child; False where there is none, or somebody else has waited for it."""
    try:
        os.waitid(which, number, os.WEXITED)
    except ChildProcessError:
        return False
    return True


def _is_living_child(which: int, number: int) -> bool:
    try:
        os.waitid(which, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except OSError:  # ECHILD; EINVAL of what is no pidfd
        return False
    return True


def _bury_one(group: int) -> os.waitid_result | None:
    try:
        return os.waitid(os.P_PGID, group, os.WEXITED)
    except ChildProcessError:
        return None


def _peek_at_the_dead(which: int, number: int, *, wait: bool) -> os.waitid_result | None:
    if number <= 0:
        return None
    try:
        return os.waitid(which, number, os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG))
    except ChildProcessError:
        return None


def _is_reaped(pid: int, fd: int) -> bool:
    """Whether a process has ended and nobody can wait for it, as the kernel has it if SIGCHLD is
    ignored: there is nobody of that number who could be killed in its place."""
    if pid <= 0 or not poll({fd: POLLIN}, 0.0):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
