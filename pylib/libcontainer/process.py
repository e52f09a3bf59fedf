# SPDX-License-Identifier: Apache-2.0
"""A process of a container, as its caller sees it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from libcontainer.configs import ProcessConfig
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._interpreter.prebooted import WaitingInit
    from nsenter._launch.child import Child
else:
    WaitingInit = object  # at run time: its module is imported when it is needed

__all__ = ["Process"]

START_TIMEOUT = 30.0
_FIRST_OTHER_FD = 3


class Process:
    """One process: to be started by `Container.start`, then to be waited for.

    Args:
        config: what it is to be.
        stdin, stdout, stderr: descriptors that it gets as 0, 1 and 2, unless it has a terminal.
        preserve_fds: how many descriptors from 3 on it keeps.
        console_socket: where its terminal's master is sent: the path of a socket that somebody
            listens on, or the descriptor of a connected one.
        pidfd_socket: the path of a socket that gets its pidfd.
        init: whether it is the container's first.
        sub_cgroup_paths: a cgroup below the container's to run in, such as {"": "job"}; with cgroup
            v1 also by controller. None: the container's; where that takes no processes any more,
            as that of a systemd, its init's.
        waiting: a prebooted init, from `libcontainer.waiting_init`. None: an interpreter boots in
            the namespaces.
        trace: whether the times of the stages are noted, in `child.trace`.
        timeout: seconds that its start, and each answer of the process while it makes its place,
            may take; None: for ever. Hooks have timeouts of their own.

    Attributes:
        pid: its pid, 0 before it is started.
        returncode: its exit status, minus the signal that killed it; None while it runs.
        child: it, as `nsenter.launch` returned it; None before it is started.
        ready: called when it is all set up, before its program can be executed; to be set by who
            wants that. What it raises is the end of the process.

    Raises:
        ContainerError: a descriptor to be preserved is not open, or a terminal is asked for
            and no console socket, or the other way round.
    """

    def __init__(
        self,
        config: ProcessConfig,
        *,
        stdin: int = 0,
        stdout: int = 1,
        stderr: int = 2,
        preserve_fds: int = 0,
        console_socket: str | int | None = None,
        pidfd_socket: str | None = None,
        init: bool = True,
        sub_cgroup_paths: Mapping[str, str] | None = None,
        waiting: WaitingInit | None = None,
        trace: bool = False,
        timeout: float | None = START_TIMEOUT,
    ) -> None:
        if config.terminal and console_socket is None:
            raise ContainerError("a terminal needs a console socket to send its master to")
        if console_socket is not None and not config.terminal:
            raise ContainerError("a console socket is given, but process.terminal is false")
        self.config = config
        self.stdio = (stdin, stdout, stderr)
        self.preserve_fds = preserve_fds
        self.console_socket = console_socket
        self.pidfd_socket = pidfd_socket
        self.init = init
        self.sub_cgroup_paths = sub_cgroup_paths
        self.waiting = waiting
        self.trace = trace
        self.timeout = timeout
        self.ready: Callable[[], None] = lambda: None
        self.child: Child | None = None
        for fd in self.preserved():
            try:
                os.fstat(fd)
            except OSError:
                raise ContainerError(
                    f"file descriptor {fd} (of --preserve-fds {preserve_fds}) is not open"
                ) from None

    def preserved(self) -> range:
        """The descriptors that it keeps beside its streams."""
        return range(_FIRST_OTHER_FD, _FIRST_OTHER_FD + self.preserve_fds)

    @property
    def pid(self) -> int:
        """Its pid, 0 before it is started."""
        return self.child.pid if self.child else 0

    @property
    def pidfd(self) -> int:
        """A descriptor of it, -1 before it is started."""
        return self.child.pidfd if self.child else -1

    @property
    def returncode(self) -> int | None:
        """Its exit status, minus the signal that killed it; None while it runs."""
        return self.child.returncode if self.child else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended; returns its returncode. See `nsenter.Child.wait`."""
        return self._started().wait(timeout)

    def signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        self._started().send_signal(number)

    def close(self) -> None:
        """Close our descriptors of it. The process is left as it is."""
        if self.child is not None:
            self.child.close()

    def _started(self) -> Child:
        if self.child is None:
            raise ContainerError("the process is not started")
        return self.child
