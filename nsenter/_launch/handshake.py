# SPDX-License-Identifier: Apache-2.0
"""The launcher's side of the bootstrap, from the spawn until the payload takes over.

All stages are children of this process, in a process group of their own. (Stage 2 leaves it when it
is told to go on.) So all of them can be found and reaped, whatever happens.
"""

from __future__ import annotations

import os
import time
from _signal import SIGKILL
from errno import ECANCELED, ECONNRESET, EPIPE, EPROTO, ETIMEDOUT

from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import (
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
from nsenter._launch.child import Child, TracePoint
from nsenter._launch.process_parent import THIS_PROCESS
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nsenter._launch.descriptors import Pipes
    from nsenter._launch.process_parent import Ended, Parent

__all__ = ["Handshake"]

_CHUNK = 1 << 16
# How many seconds the other stages have to notice that one has failed.
_AFTERMATH = 1.0


class Handshake:
    """Sends the messages, and reads the reports of the stages until the payload takes over.

    Args:
        pid, pidfd: those of stage 0. The pidfd is not closed here.
        pipes: the init pipe and the status pipe. `run` closes the launcher's copies of the child's
            ends.
        parent: the parent of stage 0, and so of the other stages.
    """

    def __init__(self, pid: int, pidfd: int, pipes: Pipes, parent: Parent = THIS_PROCESS) -> None:
        self._parent = parent
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
        self._ended = False  # no process has the status pipe open any more
        self._errors: list[dict[str, Any]] = []
        self._trace: list[TracePoint] = []
        self._partial = b""
        self._wait_for_go = False

    def run(
        self,
        outgoing: memoryview,
        timeout: float,
        spawned_ns: int,
        meanwhile: Callable[[], None] = lambda: None,
        wait_for_go: bool = False,
    ) -> Child:
        """Exchange the messages and return the process of stage 2.

        Args:
            outgoing: the bytes that are left to send.
            timeout: seconds.
            spawned_ns: the time at which stage 0 was started, in nanoseconds of CLOCK_REALTIME.
            meanwhile: called when stage 2 exists and everything is sent. If it raises, the stages
                are killed and the exception is passed on.
            wait_for_go: the payload waits. This returns when the payload is ready, and `rest` reads
            what
                follows.

        Raises:
            BootstrapError: the payload was not started; all stages have ended.
        """
        self._wait_for_go = wait_for_go
        try:
            self._pipes.close_child_ends()
            self._exchange(outgoing, time.monotonic() + timeout, meanwhile)
            # The status pipe can end before the reply is read, although the reply was sent first.
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
        child = Child(self._stage2, self._stage2_fd, self._trace, self._parent)
        if wait_for_go:
            self._status = os.dup(self._status)
            child.rest = self.rest
        return child

    def rest(self, go: bool) -> BootstrapError | None:
        """Return the error of a payload that waited, if there is one. Call this once.

        Args:
            go: the payload was told to go on. Otherwise the status pipe is only closed.
        """
        try:
            while go and self._read_status():
                pass
        finally:
            close(self._status)
        return self._failure() if self._errors else None

    # ---- sending and receiving

    def _exchange(
        self, outgoing: memoryview, deadline: float, meanwhile: Callable[[], None] | None
    ) -> None:
        os.set_blocking(self._channel, False)
        watched = {self._status: POLLIN, self._channel: POLLIN | (POLLOUT if outgoing else 0)}
        while True:
            for fd, events in self._wait(watched, deadline):
                if fd == self._status:
                    if not self._read_status() or (self._wait_for_go and self._ready):
                        return
                    continue
                if events & POLLOUT:
                    outgoing = self._send(outgoing)
                if events & (POLLIN | POLLHUP):
                    self._read_reply()
                self._watch_channel(watched, outgoing, events)
            if meanwhile and self._stage2 and not outgoing:
                self._run_meanwhile(meanwhile)
                meanwhile = None
            if self._errors:
                deadline = min(deadline, time.monotonic() + _AFTERMATH)

    def _run_meanwhile(self, meanwhile: Callable[[], None]) -> None:
        os.set_blocking(self._channel, True)  # it may still be full
        try:
            meanwhile()
        except OSError as error:
            if error.errno not in (EPIPE, ECONNRESET):
                raise
            # The status pipe says why no process reads any more.
        finally:
            os.set_blocking(self._channel, False)

    def _wait(self, watched: dict[int, int], deadline: float) -> list[tuple[int, int]]:
        left = deadline - time.monotonic()
        events = poll(watched, left) if left > 0 else []
        if not events:
            raise self._failure() if self._errors else self._timed_out()
        return events

    def _watch_channel(self, watched: dict[int, int], outgoing: memoryview, events: int) -> None:
        """Watch for what is still expected. What follows the reply is the payload's."""
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
            return outgoing[:0]  # the status pipe says why the stages ended

    def _peek(self) -> bytes:
        try:
            return peek(self._channel, 256)
        except Failure:  # there is nothing yet, or the stages have ended
            return b""

    def _read_reply(self) -> None:
        """Read the zero byte that stage 0 sends first, then its line with the pids and a pidfd."""
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
        pids = json_text.loads(line.decode())
        self._stage2, self._stage2_fd = self._checked(pids["stage2_pid"], fds)
        if pids["stage1_pid"]:
            with suppress(ProcessLookupError):  # stage 1 has ended, and SIGCHLD is ignored
                self._stage1_fd = pidfd_open(pids["stage1_pid"])

    def _checked(self, pid: int, fds: list[int]) -> tuple[int, int]:
        """Check that what is reported as stage 2 is a living child of this process.

        A process in a joined namespace may write to the init pipe if it has CAP_SYS_PTRACE, and
        the reply decides which process is killed.
        """
        try:
            fd = fds[0] if fds else pidfd_open(pid)
        except OSError:
            if self._is_living_child(os.P_PID, pid):
                self._stage2 = pid  # no descriptor is left for a pidfd: it is killed by its pid
            raise
        if self._is_living_child(os.P_PID, pid) and self._is_living_child(os.P_PIDFD, fd):
            return pid, fd
        if _is_reaped(pid, fd):
            return pid, fd
        close(fd)
        why = f"it names pid {pid} as stage 2, which is not a child of this process"
        raise BootstrapError("parent", "reply", why, EPROTO)

    def _read_status(self) -> bool:
        """Read reports; return False if no process can send more."""
        data = os.read(self._status, _CHUNK)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            self._take(json_text.loads(line.decode()))
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
        # A stage that only noticed the end of another one is not the cause.
        causes = [e for e in self._errors if e["operation"] != "sync"]
        if not causes and (killed := self._killed_stage()):
            return killed
        for error in causes or self._errors:
            subject = os.fsdecode(error["subject"].encode("latin-1"))  # each byte was one escape
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
            # A process closes its descriptors shortly before it becomes a zombie. If all have
            # closed theirs and none has become the payload, waiting for a zombie is short.
            ended = self._peek_status(which, number, wait=self._ended and not self._ready)
            if ended and ended.si_code != os.CLD_EXITED:
                return BootstrapError.killed(stage, ended.si_status)
        if self._ended and not self._ready and not self._stage2:
            # All have ended. Stage 1 is in the group, but its pid may not have been reported.
            for ended in iter(lambda: self._reap_one(self._pid), None):
                if ended.si_code != os.CLD_EXITED:
                    return BootstrapError.killed("child", ended.si_status)
        return None

    # The steps that kill and reap the stages.

    def _learn_of_stage2(self) -> None:
        with suppress(OSError):
            self._read_last_reply()

    def _destroy_group(self) -> None:
        """Kill and reap the group of stage 0.

        As long as stage 0 is a zombie, its number cannot be another group's: so the group is killed
        before any process of it is reaped.
        """
        with suppress(ProcessLookupError, PermissionError):
            # If other code has reaped it, its number may belong to another process.
            send_signal(self._pidfd, self._pid, 0, self._parent.waitid)
            os.killpg(self._pid, SIGKILL)
        while self._reap(os.P_PGID, self._pid):
            pass
        # A stage 0 that was killed before it made the group is not in it.
        self._reap(os.P_PIDFD, self._pidfd)

    def _destroy_stage2(self) -> None:
        """Kill and reap stage 2; by its pid if there is no pidfd, as it is an unreaped child."""
        if not self._stage2:
            return
        if self._stage2_fd < 0:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(self._stage2, SIGKILL)
            self._reap(os.P_PID, self._stage2)
            return
        with suppress(ProcessLookupError, PermissionError):
            send_signal(self._stage2_fd, self._stage2, SIGKILL, self._parent.waitid)
        self._reap(os.P_PIDFD, self._stage2_fd)
        close(self._stage2_fd)
        self._stage2, self._stage2_fd = 0, -1

    def _read_last_reply(self) -> None:
        """Read the reply, if it came: after it stage 2 leaves the group, and its pid is needed."""
        with suppress(BlockingIOError, ConnectionResetError, ValueError, KeyError):
            os.set_blocking(self._channel, False)
            self._read_reply()

    # Their parent waits for them, which is this process or a template.

    def _reap(self, which: int, number: int) -> bool:
        """Wait for one child; return False if there is none, or if other code has waited for it."""
        try:
            self._parent.waitid(which, number, os.WEXITED)
        except ChildProcessError:
            return False
        return True

    def _is_living_child(self, which: int, number: int) -> bool:
        try:
            self._parent.waitid(which, number, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except OSError:  # ECHILD, or EINVAL for a descriptor that is not a pidfd
            return False
        return True

    def _reap_one(self, group: int) -> Ended | None:
        try:
            return self._parent.waitid(os.P_PGID, group, os.WEXITED)
        except ChildProcessError:
            return None

    def _peek_status(self, which: int, number: int, *, wait: bool) -> Ended | None:
        if number <= 0:
            return None
        options = os.WEXITED | os.WNOWAIT | (0 if wait else os.WNOHANG)
        try:
            return self._parent.waitid(which, number, options)
        except ChildProcessError:
            return None

    def _reap_stages(self) -> None:
        self._reap(os.P_PIDFD, self._pidfd)
        if self._stage1_fd >= 0:
            self._reap(os.P_PIDFD, self._stage1_fd)


def _is_reaped(pid: int, fd: int) -> bool:
    """Return whether a process has ended and was reaped by the kernel, because SIGCHLD is ignored.

    Then no process has this pid, and none can be killed by mistake.
    """
    if pid <= 0 or not poll({fd: POLLIN}, 0.0):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
