# SPDX-License-Identifier: Apache-2.0
"""Start a process of a container and follow it to its end, for `create`, `run` and `exec`."""

from __future__ import annotations

import os
from errno import EPERM

from libcontainer import process_start  # noqa: F401 - `Container.start` imports it when called
from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.init.process import capabilities
from libcontainer.output_files import make_file
from libcontainer.process import START_TIMEOUT, Process
from libcontainer.pyrunc.signals import Aborted, Signals
from libcontainer.runc_messages import errno_text
from libcontainer.specconv import process_from_spec
from nsenter._host.cleanup import undo
from nsenter._host.suppress import suppress
from nsenter._launch.descriptors import Descriptors
from nsenter._message.capabilities import NUMBERS
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs import Config, ProcessConfig
    from libcontainer.pyrunc.context import Context
    from libcontainer.pyrunc.sd_notify import Proxy
    from libcontainer.pyrunc.streams import Streams
    from libcontainer.pyrunc.supervise import Supervisor
    from libcontainer.pyrunc.tty import Terminal

_KILLED = 128
_SIGKILL = 9
_FIRST_OTHER_FD = 3
_MANAGER = "NOTIFY_SOCKET"  # sd_notify(3)
_RESERVE = 3
_TIMEOUT = "PYRUNC_START_TIMEOUT"


class Launch:
    """The start of one process.

    Args:
        context: the command.
        config: the configuration of the process.
        detach: end the command as soon as the process runs.
        sub_cgroup_paths: the cgroups of a further process: see `Process`.

    Raises:
        ContainerError: a terminal is asked for but cannot be provided, or a descriptor that the
            process is to keep is not open.
    """

    def __init__(
        self,
        context: Context,
        config: ProcessConfig,
        *,
        detach: bool,
        sub_cgroup_paths: Mapping[str, str] | None = None,
    ) -> None:
        options = context.options
        _check_terminal(config.terminal, detach, options["console_socket"])
        self._context = context
        self._options = options
        self._config = config
        self._detach = detach
        self._sub_cgroup_paths = sub_cgroup_paths
        self._streams: Streams | None = None
        self._supervisor: Supervisor | None = None
        self._preserve: int = options["preserve_fds"]
        _check_preserved(self._preserve, _FIRST_OTHER_FD)
        _warn_of_capabilities(context, config)

    def further(self, container: Container) -> int:
        """Run a further process in a running container (`exec`); return the exit status."""
        try:
            status = self._from_start_to_end(container, first=False)
            self._finish()
            return status
        finally:
            self._close_streams()

    def first(self, container: Container, *, begin: bool, proxy: Proxy | None = None) -> int:
        """Start the first process of a container; return the exit status.

        Args:
            container: the container.
            begin: execute the program at once. Otherwise the process waits for `start`.
            proxy: passes on what the process reports to its service manager; None means nothing.
        """
        self._activate()
        _warn_of_shared_pids(self._context, container.config)
        try:
            status = self._from_start_to_end(container, first=True, begin=begin, proxy=proxy)
            if not self._detach and not self._options["keep"]:
                container.kill_and_destroy()
            self._finish()
            return status
        finally:
            self._close_streams()

    def _finish(self) -> None:
        """Copy the rest of the output after the processes that could write more have been ended."""
        if self._supervisor:
            self._supervisor.finish()

    def _show_what_is_left(self) -> None:
        if self._streams:
            self._streams.show_what_is_left()

    def _close_streams(self) -> None:
        if self._streams:
            self._streams.close()

    def _activate(self) -> None:
        """Pass the sockets that systemd has passed to this command on to the container.

        They come before the other descriptors that the process keeps, as sd_listen_fds(3) requires.
        """
        count = os.environ.get("LISTEN_FDS", "")
        if not count.isdecimal() or os.environ.get("LISTEN_PID") != str(os.getpid()):
            return
        names = os.environ.get("LISTEN_FDNAMES")
        # The process is number 1 in its container, as a rule; runc says so, too.
        told = [f"LISTEN_FDS={count}", "LISTEN_PID=1"]
        if names:
            told.append(f"LISTEN_FDNAMES={names}")
        _check_preserved(self._preserve, _FIRST_OTHER_FD + int(count))
        self._preserve += int(count)
        self._config = self._config.replace(env=(*self._config.env, *told))

    def _from_start_to_end(
        self, container: Container, *, first: bool, begin: bool = False, proxy: Proxy | None = None
    ) -> int:
        terminal = self._terminal()
        signals = Signals()
        if first:
            signals.abort(keep_ignored=not self._detach)
        elif not self._detach:
            signals.collect()
        self._make_streams(container)
        process = self._process(terminal, first)
        pid_file = PidFile(self._options["pid_file"])

        def ready() -> None:
            pid_file.write(process.pid)
            if terminal:
                terminal.receive()
            if process.trace:
                self._tell_of_stages(process)
                self._tell_of_filter(container)
                self._tell_of_affinity(process)
            if not self._detach:  # from here on they are the process's
                signals.collect()

        process.ready = ready
        give_back = terminal.close if terminal else lambda: None
        try:
            if begin:
                container.run(process)
            else:
                container.start(process)
            if self._streams:
                self._streams.let_go()
            pid_file.show()
            status = self._to_end(process, signals, terminal, proxy)
        except BaseException as error:
            told = _told(error)
            undo(told, give_back, pid_file.discard, lambda: _end(process))
            undo(told, self._show_what_is_left)
            if told is not error:
                raise told from None
            raise
        give_back()
        return status

    def _terminal(self) -> Terminal | None:
        if not self._config.terminal or self._detach:
            return None
        from libcontainer.pyrunc.tty import Terminal

        return Terminal()

    def _make_streams(self, container: Container) -> None:
        if self._config.terminal or self._detach:
            return
        from libcontainer.pyrunc.streams import Streams

        self._streams = Streams(container.config)

    def _stdio(self) -> tuple[int, int, int]:
        """Return the standard streams of the process.

        As with runc, a process in the background gets the streams of the caller. A process in the
        foreground, or with a terminal, gets none of them.
        """
        if self._streams:
            return self._streams.theirs
        if not self._config.terminal:
            return (0, 1, 2)
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)  # closed when the command ends
        return (null, null, null)

    def _process(self, terminal: Terminal | None, first: bool) -> Process:
        socket = self._options["console_socket"] or None
        stdin, stdout, stderr = self._stdio()
        return Process(
            self._config,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            preserve_fds=self._preserve,
            console_socket=terminal.socket if terminal else socket,
            pidfd_socket=self._options["pidfd_socket"] or None,
            init=first,
            sub_cgroup_paths=self._sub_cgroup_paths,
            prebooted=self._context.prebooted,
            trace=self._context.log.wants_debug,
            timeout=start_timeout(os.environ.get(_TIMEOUT, "")),
        )

    def _tell_of_stages(self, process: Process) -> None:
        """Log the time of each stage, with the lines of runc's log that people search for."""
        assert process.child is not None
        log, points = self._context.log, process.child.trace
        log.debug("nsexec container setup")
        for point in points:
            after = (point.ns - points[0].ns) / 1e6
            log.debug(f"nsexec {point.stage}: {point.point}, after {after:.2f} ms")
        log.debug("child process in init()")
        ends = "init: closing the pipe to signal completion"
        log.debug(ends if process.init else "setns_init: about to exec")

    def _tell_of_affinity(self, process: Process) -> None:
        """Log the initial CPUs of the process, with the text of runc's nsexec."""
        mask = sum(1 << number for number in os.sched_getaffinity(process.pid))
        self._context.log.debug(f"nsexec: affinity: {mask:#x}")

    def _tell_of_filter(self, container: Container) -> None:
        """Log the seccomp filter with runc's text, which runc's own tests look for."""
        policy = container.config.seccomp
        if policy is not None:
            from libcontainer.seccomp import policies

            self._context.log.debug(f"seccomp filter flags: {policies.flags(policy)}")

    def _to_end(
        self, process: Process, signals: Signals, terminal: Terminal | None, proxy: Proxy | None
    ) -> int:
        if self._detach:
            if proxy:
                proxy.wait_until_ready(process.pid)
            return 0
        from libcontainer.pyrunc.supervise import Supervisor

        adopt = not self._options.get("no_subreaper")
        supervisor = Supervisor(process, signals, terminal, self._streams, adopt=adopt)
        self._supervisor = supervisor
        if proxy:
            supervisor.watch.add(proxy.fileno(), lambda: _pass_on(proxy, process.pid))
        returncode = supervisor.wait()
        process.close()
        return returncode if returncode >= 0 else _KILLED - returncode


def _pass_on(proxy: Proxy, pid: int) -> None:
    proxy.pass_on(pid)


def launch_new(context: Context, spec: dict[str, Any], bundle: str, *, begin: bool) -> int:
    """Create a container from a config.json and start its first process; return the exit status.

    Args:
        context: the command.
        spec: the parsed config.json.
        bundle: the directory that paths in the configuration are relative to. "" means the
            container's state directory, where the configuration is then kept for `exec`.
        begin: execute the program at once. Otherwise the process waits for `start`.
    """
    if not isinstance(spec.get("process"), dict):
        raise ContainerError("process property must not be empty: config.json has no `process`")
    folder = f"{context.root}/{context.id}"
    notified = bool(os.environ.get(_MANAGER))
    if notified:
        from libcontainer.pyrunc import sd_notify

        spec = dict(spec)
        sd_notify.add_to_spec(spec, folder)
    detach = not begin or context.options["detach"]
    launch = Launch(context, process_from_spec(spec["process"]), detach=detach)
    config = context.convert(spec, bundle or folder)
    context.make_root()
    with Descriptors() as reserve:
        _fill(reserve)
        container = context.listening(
            Container.create(context.root, context.id, config, bundle=bundle or folder)
        )
        try:
            if not bundle:
                _keep_spec(spec, folder)
            if notified:
                sd_notify.make_folder(folder)
            proxy = sd_notify.Proxy(folder) if notified and begin else None
            return launch.first(container, begin=begin, proxy=proxy)
        except BaseException as error:
            reserve.close()
            undo(error, container.kill_and_destroy)
            raise


def _end(process: Process) -> None:
    if process.pid:
        process.signal(_SIGKILL)
        process.wait()


def _told(error: BaseException) -> BaseException:
    """Return the error that a user sees if the start is given up because of this one."""
    if isinstance(error, Aborted):
        return ContainerError(f"aborted by signal {error.number}")
    return error


def _fill(reserve: Descriptors) -> None:
    """Open descriptors in reserve: to remove a container takes some when none are left."""
    for _ in range(_RESERVE):
        reserve.add(os.open("/", os.O_PATH | os.O_CLOEXEC))


def _keep_spec(spec: dict[str, Any], folder: str) -> None:
    from nsenter._host import json_text

    make_file(f"{folder}/config.json", json_text.dumps(spec).encode())


def start_timeout(text: str) -> float | None:
    """Return how many seconds an init may take for each answer; None means without limit.

    Args:
        text: a number of seconds; "0" means without limit, and "" the default of `Process`.

    Raises:
        ContainerError: the text is not such a number.
    """
    if not text:
        return START_TIMEOUT
    if not text.isdecimal():
        raise ContainerError(f"{_TIMEOUT} must be a whole number of seconds, not {text!r}")
    return int(text) or None


class PidFile:
    """A file with the pid of the process. It appears complete, and only after the start.

    Args:
        path: the path of the file; "" means that no file is wanted.
    """

    def __init__(self, path: str) -> None:
        folder, name = os.path.split(path)
        self._path = path
        self._temporary = os.path.join(folder, f".{name}.{os.getpid()}")
        self._is_written = False

    def write(self, pid: int) -> None:
        """Write the file under a temporary name, before the process executes its program.

        So if the file cannot be written, the program never runs.
        """
        if not self._path:
            return
        make_file(self._temporary, str(pid).encode())
        self._is_written = True

    def show(self) -> None:
        """Rename the file to its final name."""
        if self._is_written:
            os.rename(self._temporary, self._path)
            self._is_written = False

    def discard(self) -> None:
        """Remove the file, unless it has its final name already."""
        if self._is_written:
            self._is_written = False
            with suppress(OSError):
                os.unlink(self._temporary)


def _check_terminal(terminal: bool, detach: bool, socket: str) -> None:
    if terminal and detach and not socket:
        raise ContainerError(
            "cannot allocate tty if pyrunc will detach without setting console socket"
        )
    if socket and not (terminal and detach):
        raise ContainerError("cannot use console socket if pyrunc will not detach or allocate tty")


def _warn_of_capabilities(context: Context, config: ProcessConfig) -> None:
    """Ignore capabilities that are unknown or unavailable, with runc's warning.

    A config.json may be newer than this program or the kernel.
    """
    sets = config.capabilities
    if sets is None:
        return
    names = {name for names in sets.to_data().values() for name in names}
    ignored = sorted(name for name in names if not capabilities.is_known(NUMBERS.get(name, -1)))
    if ignored:
        told = f"ignoring unknown or unavailable capabilities: [{' '.join(ignored)}]"
        context.log.warning(told)
    kinds = (sets.ambient, sets.permitted, sets.inheritable)
    ambient, permitted, inheritable = map(capabilities.mask_of, kinds)
    for name in capabilities.names_of(capabilities.not_raised(ambient, permitted, inheritable)):
        why = errno_text(EPERM)
        context.log.warning(f"can't raise ambient capability {name}: {why}")


def _warn_of_shared_pids(context: Context, config: Config) -> None:
    """Warn that processes of a joined PID namespace can see the init while it has the host's root.

    This happens only if the init cannot join the PID namespace last. SECURITY.md explains why.
    """
    if not config.namespaces.path_of(NamespaceType.NEWPID):
        return
    from libcontainer.pid_namespace_join import is_exposed

    if is_exposed(config):
        context.log.warning(
            "the container joins an existing PID namespace: until its init has entered its root, "
            "a process with CAP_SYS_PTRACE there can reach the host's root through it; "
            "use a user namespace, or drop CAP_SYS_PTRACE from the containers that share it"
        )


def _check_preserved(count: int, first: int) -> None:
    for fd in range(first, first + count):
        try:
            # What is closed on exec is no caller's: Python's own, opened since.
            is_there = os.get_inheritable(fd)
        except OSError:
            is_there = False
        if not is_there:
            raise ContainerError(
                f"unable to stat preserved-fd {fd - first + 1} (of {count}): "
                f"file descriptor {fd} is not open"
            )
