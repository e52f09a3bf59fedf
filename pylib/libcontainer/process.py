# SPDX-License-Identifier: Apache-2.0
"""A process of a container, as the program that starts it sees it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from libcontainer.configs import ProcessConfig
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._interpreter.prebooted import PrebootedInit
    from nsenter._launch.child import Child
else:
    PrebootedInit = object  # at run time: its module is imported when it is needed

__all__ = ["Process"]

START_TIMEOUT = 30.0
_FIRST_OTHER_FD = 3


class Process:
    """Describe a process of a container. `Container.start` or `Container.run` starts it.

    Args:
        config: the configuration of the process.
        stdin, stdout, stderr: the descriptors that become 0, 1 and 2 of the process. They are not
            used if the process has a terminal.
        preserve_fds: how many descriptors, from 3 on, the process keeps.
        console_socket: where to send the master of the terminal: the path of a socket on which
            another process listens, or the descriptor of a connected socket.
        pidfd_socket: the path of a socket to which the pidfd of the process is sent.
        init: whether this is the first process of the container.
        sub_cgroup_paths: a cgroup below that of the container, such as {"": "job"}, in which the
            process runs; with cgroup v1 also by controller. None means the cgroup of the container,
            or that of the init if the container's cgroup takes no processes any more, for example
            because systemd runs in the container.
        prebooted: a prebooted init, from `libcontainer.prebooted_init`. None means that an
        interpreter
            boots in the namespaces.
        trace: record the times of the stages in `child.trace`.
        timeout: how many seconds the start may take, and also each answer of the process while it
            sets itself up. None means no limit. Hooks have their own timeouts.

    Attributes:
        pid: the pid of the process; 0 before it is started.
        returncode: its exit status, or -N if signal N killed it; None while it runs.
        child: the `nsenter.Child` of the process; None before it is started.
        ready: a callable that is called when the process is set up, before it can execute its
            program. If it raises an exception, the process is killed.

    Raises:
        ContainerError: a descriptor to preserve is not open; or only one of a terminal and a
            console socket is given.
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
        prebooted: PrebootedInit | None = None,
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
        self.prebooted = prebooted
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
        """Return the numbers of the descriptors that the process keeps besides its streams."""
        return range(_FIRST_OTHER_FD, _FIRST_OTHER_FD + self.preserve_fds)

    @property
    def pid(self) -> int:
        """The pid of the process; 0 before it is started."""
        return self.child.pid if self.child else 0

    @property
    def pidfd(self) -> int:
        """The pidfd of the process; -1 before it is started."""
        return self.child.pidfd if self.child else -1

    @property
    def returncode(self) -> int | None:
        """The exit status of the process, or -N if signal N killed it; None while it runs."""
        return self.child.returncode if self.child else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended, like `nsenter.Child.wait`.

        Args:
            timeout: how many seconds to wait. None means no limit.

        Returns:
            The returncode.

        Raises:
            ContainerError: the process has not been started.
            TimeoutError: the process still runs after `timeout` seconds.
        """
        return self._started().wait(timeout)

    def signal(self, number: int) -> None:
        """Send a signal to the process. If it has ended, nothing happens.

        Args:
            number: the number of the signal.

        Raises:
            ContainerError: the process has not been started.
        """
        self._started().send_signal(number)

    def close(self) -> None:
        """Close the descriptors for the process in this program. The process itself goes on."""
        if self.child is not None:
            self.child.close()

    def _started(self) -> Child:
        if self.child is None:
            raise ContainerError("the process is not started")
        return self.child
