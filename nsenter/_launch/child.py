# SPDX-License-Identifier: Apache-2.0
"""A process that was started in namespaces."""

from __future__ import annotations

import errno
import os
import sys
from _signal import SIGKILL, SIGTERM
from _thread import RLock
from collections.abc import Callable

from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import POLLIN, ioctl, poll, send_signal
from nsenter._launch.process_parent import THIS_PROCESS, Parent
from nsenter._launch.usage import Usage
from nsenter.errors import BootstrapError, Naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from nsenter._cgroups.limited import LimitedTree
else:
    LimitedTree = object  # what typing.get_type_hints finds

    class socket:
        """What typing.get_type_hints finds: importing socket takes 3 ms."""

        socket = object


__all__ = ["Child", "TracePoint"]

_KILLED = 128  # plus the signal's number: the exit status of a shell or an init
# The first version of struct pidfd_info (linux/pidfd.h): u64 mask, ..., s32 exit_code.
_PIDFD_GET_INFO = 0xC040FF0B
_PIDFD_INFO_SIZE = 64
_PIDFD_INFO_EXIT = 1 << 3


class TracePoint(Value):
    """The time at which a stage reached a point.

    Args:
        stage: "launcher", "parent", "child" or "init".
        point: the name of the point.
        ns: the time in nanoseconds of CLOCK_REALTIME.
    """

    stage: str
    point: str
    ns: int


class Child:
    """A process that was started. Its pidfd identifies it even if its pid is reused.

    At the end of a `with` block, the process is killed and waited for, and its descriptors are
    closed.

    Attributes:
        pid: the pid of the process in the caller's PID namespace.
        pidfd: a descriptor of the process (pidfd_open(2)), open until `close`.
        channel_fd: the caller's end of the init pipe to a PythonInit; -1 for a Program, and after
            `channel` has taken it over.
        terminal_fd: the caller's side of the terminal, the master of a pty; -1 if there is none.
        verdict_fd: a descriptor on which the init reports how the program ended; -1 without init.
        gate_fd: a descriptor that holds the program back until `go`; -1 if it does not wait.
        listener_fd: a socket on which the listener of the filter comes (seccomp_unotify(2)); -1 if
            it has none.
        leads_group: the process leads a group of which it is the first member, and which no other
            can leave: `kill` ends the whole group, and so does the end of the process.
        trace: the times at which the stages reached their points, if `trace` was given.
        returncode: the exit status, or the negative number of the signal that killed the process;
            None as long as the process may be running.
        usage: the resources that the process used; None until this object has waited for it.
        has_own_peak: whether `usage.max_rss` is known.
        tree: the cgroup of the process, if it has `Options.limits`; None after the process has been
            waited for, and the cgroup was removed.
        limited_by: for each field of `Limits` that is set: "cgroup", "rlimit" or "not limited".
    """

    def __init__(
        self, pid: int, pidfd: int, trace: list[TracePoint], parent: Parent = THIS_PROCESS
    ) -> None:
        self._parent = parent
        self.pid = pid
        self.pidfd = pidfd
        self.channel_fd = -1
        self.terminal_fd = -1
        self.verdict_fd = -1
        self.gate_fd = -1
        self.listener_fd = -1
        self.leads_group = False
        self.rest: Callable[[bool], BootstrapError | None] = lambda go: None
        self._channel: socket.socket | None = None
        self.trace = tuple(trace)
        self.returncode: int | None = None
        self.usage: Usage | None = None
        self.has_own_peak = True
        self.tree: LimitedTree | None = None
        self.limited_by: dict[str, str] = {}
        # Reentrant: a signal handler may send a signal while its thread waits.
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} returncode={self.returncode}>"

    @property
    def channel(self) -> socket.socket | None:
        """The init pipe as a stream socket to a PythonInit; None for a Program."""
        if self.channel_fd >= 0:
            import socket  # its import takes 3 ms, which callers that use channel_fd do not spend

            self._channel = socket.socket(
                socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=self.channel_fd
            )
            self.channel_fd = -1
        return self._channel

    @property
    def program_pid(self) -> int:
        """The pid of the program itself, in the caller's PID namespace: see `Popen.program_pid`."""
        from nsenter._launch.join_targets import program_of

        return program_of(self.pid) or self.pid

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended and return its returncode.

        Args:
            timeout: seconds; None means without a limit.

        Raises:
            TimeoutError: the process is still running.
            ChildProcessError: other code has waited for the process, or SIGCHLD is ignored, and
                the kernel does not keep the status (before Linux 6.15).
        """
        if self.returncode is None and not self._has_ended(timeout):
            raise TimeoutError(f"process {self.pid} still runs after {timeout} s")
        return self._reap()

    def poll(self) -> int | None:
        """Return the returncode if the process has ended, otherwise None."""
        return self.wait() if self.returncode is not None or self._has_ended(0) else None

    def _has_ended(self, timeout: float | None) -> bool:
        return bool(poll({self.pidfd: POLLIN}, timeout))

    def _reap(self) -> int:
        with self._lock:
            if self.returncode is None:
                self._kill_group()
                self.returncode = self._status()
                self._remove_tree()
            return self.returncode

    def _status(self) -> int:
        try:
            with Naming():
                code, status, self.usage = self._parent.wait_for(self.pidfd, self.has_own_peak)
        except ChildProcessError:
            return self._kept_status()
        return self._told(status) if code == os.CLD_EXITED else -status

    def _remove_tree(self) -> None:
        """Kill what the process has left in its cgroup, and remove it."""
        if self.tree is None:
            return
        figures = self.tree.finish()
        self.tree = None
        if self.usage is not None:
            self.usage = self.usage.with_figures(figures)

    def _told(self, status: int) -> int:
        """Return the returncode for an exit status. That of an init says how its program ended."""
        return status if self.verdict_fd < 0 else _verdict(self.verdict_fd, status)

    def _kept_status(self) -> int:
        """Return the status that the kernel keeps after other code has waited: ioctl_pidfd(2)."""
        info = bytearray(_PIDFD_INFO_SIZE)
        info[0] = _PIDFD_INFO_EXIT
        with suppress(OSError):
            ioctl(self.pidfd, "PIDFD_GET_INFO", _PIDFD_GET_INFO, info)
            if info[0] & _PIDFD_INFO_EXIT:
                status = int.from_bytes(info[-4:], sys.byteorder)
                code = os.waitstatus_to_exitcode(status)
                return code if code < 0 else self._told(code)
        if self._parent.has_ended():  # that has killed it
            return -int(SIGKILL)
        why = "its status is lost: somebody else waited for it, or SIGCHLD is ignored"
        raise ChildProcessError(errno.ECHILD, f"process {self.pid}: {why}")

    def send_signal(self, number: int) -> None:
        """Send a signal to the process; do nothing if it has ended."""
        with self._lock:
            if self.returncode is None:
                with suppress(ProcessLookupError), Naming():
                    send_signal(self.pidfd, self.pid, number, self._parent.waitid)

    def terminate(self) -> None:
        """Send SIGTERM. The init of a PID namespace ignores it unless it has a handler."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL. If the process is the init of a PID namespace, every process in it ends."""
        with self._lock:
            self._kill_group()
            self.send_signal(SIGKILL)

    def _kill_group(self) -> None:
        if self.leads_group and self.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                # Until somebody has waited for the process, no other group has its pid.
                send_signal(self.pidfd, self.pid, 0, self._parent.waitid)
                os.killpg(self.pid, SIGKILL)

    def go(self) -> None:
        """Let a program that waits be executed, and return when it has been.

        Raises:
            BootstrapError: the program could not be executed.
            ValueError: the program was not started with `wait_for_go=True`.
        """
        if self.gate_fd < 0:
            raise ValueError(f"process {self.pid} was not started with wait_for_go=True")
        with suppress(BrokenPipeError):  # it has ended
            os.write(self.gate_fd, b"g")
        os.close(self.gate_fd)
        self.gate_fd = -1
        failure = self.rest(True)
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Close the descriptors. A process that waits for `go` ends; others continue."""
        if self.gate_fd >= 0:
            self.rest(False)
        if self._channel is not None:
            self._channel.close()
        for name in ("channel_fd", "terminal_fd", "verdict_fd", "gate_fd", "listener_fd", "pidfd"):
            fd = getattr(self, name)
            if fd >= 0:
                setattr(self, name, -1)
                # close(2) closes the descriptor even if it fails.
                with suppress(OSError):
                    os.close(fd)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.kill()
            self.wait()
        except ChildProcessError:
            pass  # other code has reaped it: the process has ended, which is enough here
        finally:
            self.close()


def _verdict(fd: int, status: int) -> int:
    """Return the returncode of the program that an init has run.

    The init itself cannot end by the signal that killed the program.

    Args:
        fd: the descriptor on which the init writes the number of that signal, as one byte.
        status: the exit status of the init: the program's, or 128 plus that number.
    """
    try:
        told = os.read(fd, 1)
    except BlockingIOError:
        told = b""
    # A number that contradicts the exit status is ignored.
    return -told[0] if told and _KILLED + told[0] == status else status
