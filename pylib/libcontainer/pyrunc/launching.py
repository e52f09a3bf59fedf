# SPDX-License-Identifier: Apache-2.0
"""What `create`, `run` and `exec` share: a process of a container from its start to its end."""

from __future__ import annotations

import os

from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.process import Process
from libcontainer.specconv import process_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import ProcessConfig
    from libcontainer.pyrunc.context import Context
    from libcontainer.pyrunc.tty import Terminal

_KILLED = 128


def make_container(context: Context, spec: Any, bundle: str) -> Launched:
    """A new container of a config.json, and the process that is to be its first."""
    context.check_root()
    config = context.convert(spec, bundle)
    if not isinstance(spec.get("process"), dict):
        raise ContainerError("config.json has no process")
    process = process_from_spec(spec["process"])
    container = Container.create(context.root, context.id, config, bundle=bundle)
    return Launched(context, container, process, init=True)


def _activation() -> tuple[int, list[str]]:
    """Descriptors that systemd has passed us for the container (sd_listen_fds(3))."""
    count = os.environ.get("LISTEN_FDS", "")
    if not count.isdecimal() or os.environ.get("LISTEN_PID", str(os.getpid())) != str(os.getpid()):
        return 0, []
    names = os.environ.get("LISTEN_FDNAMES")
    # The process is number 1 in its container, as a rule; runc says so, too.
    told = [f"LISTEN_FDS={count}", "LISTEN_PID=1"]
    return int(count), [*told, f"LISTEN_FDNAMES={names}"] if names else told


class Launched:
    """One process of a container, started by this command.

    Args:
        init: whether it is the container's first.
    """

    def __init__(
        self, context: Context, container: Container, config: ProcessConfig, *, init: bool
    ) -> None:
        self._context = context
        self._container = container
        self._options = context.options
        self._init = init
        activated, env = _activation() if init else (0, [])
        self._config = config.replace(env=(*config.env, *env))
        self._preserve = self._options["preserve_fds"] + activated
        self._process: Process | None = None

    def start(self, console_socket: str | int | None) -> Process:
        """Start it. A new container whose init cannot be started is taken away again."""
        try:
            self._process = Process(
                self._config,
                preserve_fds=self._preserve,
                console_socket=console_socket,
                pidfd_socket=self._options["pidfd_socket"],
                init=self._init,
                cgroup=self._options.get("cgroup") or "",
                forked=True,
            )
            self._container.start(self._process)
        except BaseException:
            if self._init:
                self._container.kill_and_destroy()
            raise
        return self._process

    def write_pid_file(self) -> None:
        """The pid, where --pid-file asks for it: whole, or not there."""
        path = self._options["pid_file"]
        if not path or self._process is None:
            return
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, f".{name}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o666)
        try:
            os.write(fd, str(self._process.pid).encode())
        finally:
            os.close(fd)
        os.rename(temporary, path)

    def run(self) -> int:
        """Start it, have it run, and wait for its end unless detached."""
        detach, socket = self._options["detach"], self._options["console_socket"]
        self._check_terminal(detach, socket)
        terminal = self._terminal() if self._config.terminal and not socket else None
        try:
            process = self.start(terminal.socket if terminal else socket)
            return self._go_on(process, terminal, detach)
        finally:
            if terminal:
                terminal.close()

    def _check_terminal(self, detach: bool, socket: str | None) -> None:
        problem = ""
        if self._config.terminal and detach and not socket:
            problem = "cannot allocate tty if pyrunc will detach without setting console socket"
        elif socket and not self._config.terminal:
            problem = "cannot use console socket if pyrunc will not allocate a terminal"
        elif socket and not detach:
            problem = "cannot use console socket if pyrunc will not detach"
        if problem:
            if self._init:
                self._container.kill_and_destroy()
            raise ContainerError(problem)

    def _terminal(self) -> Terminal:
        from libcontainer.pyrunc.tty import Terminal

        return Terminal()

    def _go_on(self, process: Process, terminal: Terminal | None, detach: bool) -> int:
        try:
            self.write_pid_file()
            if terminal:
                terminal.receive()
            if self._init:
                self._container.exec()
            if detach:
                return 0
            return self._wait(process, terminal)
        except BaseException:
            process.signal(9)
            process.wait()
            if self._init:
                self._container.kill_and_destroy()
            raise

    def _wait(self, process: Process, terminal: Terminal | None) -> int:
        from libcontainer.pyrunc.supervise import supervise

        adopt = self._init and not self._options["no_subreaper"]
        status = supervise(process, terminal, adopt=adopt)
        process.close()
        if self._init and not self._options["keep"]:
            self._container.kill_and_destroy()
        return status if status >= 0 else _KILLED - status
