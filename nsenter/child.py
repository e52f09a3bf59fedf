# SPDX-License-Identifier: Apache-2.0
"""A process that was started in namespaces."""

from __future__ import annotations

import errno
import os
import sys
from _signal import SIGKILL, SIGTERM
from _thread import RLock

from nsenter.errors import Naming
from nsenter.suppress import suppress
from nsenter.system import POLLIN, ioctl, poll, send_signal
from nsenter.usage import wait_for
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from nsenter.errors import BootstrapError
    from nsenter.usage import Usage

__all__ = ["Child", "TracePoint"]

_KILLED = 128  # plus the signal's number, as a shell and a PID 1 tell it
# struct pidfd_info of linux/pidfd.h, as it first was: u64 mask … s32 exit_code.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_SIZE = 64
_PIDFD_INFO_EXIT = 1 << 3


class TracePoint(Value):
    """A stage has come to a point.

    Args:
        stage: "launcher", "parent", "child" or "init".
        point: what it has come to.
        ns: when, in nanoseconds of CLOCK_REALTIME.
    """

    stage: str
    point: str
    ns: int


class Child:
    """A running process, known by its pidfd: no reuse of its pid can make it another.

    As a context manager it is killed, waited for and closed at the end of the block.

    Attributes:
        pid: its pid, as the caller sees it.
        pidfd: a descriptor of it (pidfd_open(2)), open until `close`.
        channel_fd: the rest of the init pipe, to a PythonInit; -1 for a Program, and when it was
            taken over by `channel`.
        terminal_fd: our side of its terminal, a pty's master; -1 where it was not given one.
        verdict_fd: where its PID 1 tells how the program ended; -1 without one.
        gate_fd: the end of a pipe that holds the program back until `go`; -1 if nothing does.
        trace: when the stages came where, if that was asked for.
        returncode: its exit status, minus the signal that killed it; None while it runs.
        usage: what it has used; None until it was waited for, and if somebody else did.
        has_own_peak: whether `usage.max_rss` is known.
    """

    def __init__(self, pid: int, pidfd: int, trace: list[TracePoint]) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.channel_fd = -1
        self.terminal_fd = -1
        self.verdict_fd = -1
        self.gate_fd = -1
        self.rest: Callable[[bool], BootstrapError | None] = lambda go: None
        self._channel: socket.socket | None = None
        self.trace = tuple(trace)
        self.returncode: int | None = None
        self.usage: Usage | None = None
        self.has_own_peak = True
        # Reentrant: a signal handler may send a signal while its thread waits.
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} returncode={self.returncode}>"

    @property
    def channel(self) -> socket.socket | None:
        """The rest of the init pipe as a stream socket to a PythonInit; None for a Program."""
        if self.channel_fd >= 0:
            import socket  # 3 ms to import, for who wants more than the descriptor

            self._channel = socket.socket(
                socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=self.channel_fd
            )
            self.channel_fd = -1
        return self._channel

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; returns its returncode.

        Args:
            timeout: seconds; None: for ever.

        Raises:
            TimeoutError: it still runs.
            ChildProcessError: somebody else has waited for it, or SIGCHLD is ignored, and the
                kernel does not keep its status (before Linux 6.15).
        """
        if self.returncode is None and not self._has_ended(timeout):
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return self._reap()

    def poll(self) -> int | None:
        """Its returncode if it has ended, else None."""
        return self.wait() if self.returncode is not None or self._has_ended(0) else None

    def _has_ended(self, timeout: float | None) -> bool:
        return bool(poll({self.pidfd: POLLIN}, timeout))

    def _reap(self) -> int:
        with self._lock:
            if self.returncode is None:
                self.returncode = self._status()
            return self.returncode

    def _status(self) -> int:
        try:
            with Naming():
                code, status, self.usage = wait_for(self.pidfd, has_own_peak=self.has_own_peak)
        except ChildProcessError:
            return self._kept_status()
        return self._told(status) if code == os.CLD_EXITED else -status

    def _told(self, status: int) -> int:
        """What an exit status means: that of a PID 1 that stayed is its program's end."""
        return status if self.verdict_fd < 0 else _verdict(self.verdict_fd, status)

    def _kept_status(self) -> int:
        """What is left where somebody else has taken the status: ioctl_pidfd(2)."""
        info = bytearray(_PIDFD_INFO_SIZE)
        info[0] = _PIDFD_INFO_EXIT
        with suppress(OSError):
            ioctl(self.pidfd, "PIDFD_GET_INFO", _PIDFD_GET_INFO, info)
            if info[0] & _PIDFD_INFO_EXIT:
                status = int.from_bytes(info[-4:], sys.byteorder)
                code = os.waitstatus_to_exitcode(status)
                return code if code < 0 else self._told(code)
        why = "its status is lost: somebody else waited for it, or SIGCHLD is ignored"
        raise ChildProcessError(errno.ECHILD, f"process {self.pid}: {why}")

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        with self._lock:
            if self.returncode is None:
                with suppress(ProcessLookupError), Naming():
                    send_signal(self.pidfd, self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM. The init of a pid namespace ignores it unless it has a handler."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL; the init of a pid namespace takes all in it along."""
        self.send_signal(SIGKILL)

    def go(self) -> None:
        """Have a program that was held executed; returns when it is.

        Raises:
            BootstrapError: it could not be.
            ValueError: it is not held, or not any more.
        """
        if self.gate_fd < 0:
            raise ValueError(f"process {self.pid} is not held")
        with suppress(BrokenPipeError):  # it has ended
            os.write(self.gate_fd, b"g")
        os.close(self.gate_fd)
        self.gate_fd = -1
        failure = self.rest(True)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the descriptors. The process is left as it is, but one that is held ends."""
        if self.gate_fd >= 0:
            self.rest(False)
        if self._channel is not None:
            self._channel.close()
        for name in ("channel_fd", "terminal_fd", "verdict_fd", "gate_fd", "pidfd"):
            fd = getattr(self, name)
            if fd >= 0:
                setattr(self, name, -1)
                # It is closed, whatever close(2) says of it.
                with suppress(OSError):
                    os.close(fd)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.kill()
            self.wait()
        except ChildProcessError:
            pass  # reaped by somebody else: it has ended, which is what matters here
        finally:
            self.close()


def _verdict(fd: int, status: int) -> int:
    """The returncode of the program of a PID 1, which cannot end by a signal itself.

    Args:
        fd: where the PID 1 tells the number of the signal that has killed the program, one byte.
        status: its own exit status: the program's, or 128 and that number.
    """
    try:
        told = os.read(fd, 1)
    except BlockingIOError:
        told = b""
    # What does not agree with its own end is not believed.
    return -told[0] if told and _KILLED + told[0] == status else status
