# SPDX-License-Identifier: Apache-2.0
"""A container: any process with the rights can create, start, signal, pause and destroy it.

What one command knows about the container, the next one reads from its state directory
(libcontainer.record). The names and their meaning are those of runc's libcontainer
(container_linux.go).
"""

from __future__ import annotations

import _signal
import os
from collections.abc import Callable, Iterator
from errno import ENXIO

from libcontainer.cgroups import FROZEN, Manager
from libcontainer.configs import Config
from libcontainer.configs.validate import validate, validate_process
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.process import Process
from libcontainer.record import CREATED, PAUSED, RUNNING, STOPPED, Record, namespace_paths
from libcontainer.runc_messages import message
from libcontainer.state import State
from libcontainer.state_folder import check_id
from nsenter._host.cleanup import close, undo
from nsenter._host.syscalls import Failure, send_signal
from nsenter.bootstrap import BootstrapData, bootstrap_data, requires_root_or_mapping_tool
from nsenter.idmap import encode
from nsenter.namespaces import Namespace, Namespaces, NamespaceType, supported_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.process_start import InitProcess, SetnsProcess
else:
    Any = InitProcess = SetnsProcess = object  # at run time: importing typing takes 4 ms

__all__ = ["Container"]


class Container:
    """A container. `create` makes a new one, and `load` returns one that exists.

    Attributes:
        id: the name of the container.
        config: its configuration.
        warn: a callable that is called with a text if something fails that stops nothing, such as a
            poststop hook. Set it to get these texts; by default they are dropped.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self.id = record.id
        # Called with the text of a failure that stops nothing.
        self.warn: Callable[[str], None] = lambda text: None

    def __repr__(self) -> str:
        return f"<Container {self.id!r} in {self._record.folder.root}>"

    @classmethod
    def create(cls, root: str, id: str, config: Config, *, bundle: str = "") -> Container:
        """Create a container without a process, like libcontainer.Create of runc.

        Args:
            root: the directory of all containers' state, an absolute path.
            id: the name of the container: letters, digits and any of "_+-.".
            config: its configuration.
            bundle: the directory of its config.json, for `oci_state`.

        Returns:
            The container.

        Raises:
            ConfigError: the configuration is not valid; nothing was created.
            ContainerError: the id is taken or not valid, or the cgroup is in use or frozen.
        """
        check_id(id)
        validate(config)
        return cls(Record.create(root, id, config, bundle))

    @classmethod
    def load(cls, root: str, id: str) -> Container:
        """Return the container with this id, like libcontainer.Load of runc.

        Args:
            root: the directory of all containers' state, an absolute path.
            id: the name of the container.

        Raises:
            ContainerNotFoundError: there is no such container.
            ContainerError: the id is not valid, or the container was created only partly, or its
                state cannot be read.
        """
        return cls(Record.load(root, id))

    # ---- what it is

    @property
    def config(self) -> Config:
        """The configuration of the container."""
        return self._record.config

    @property
    def root_folder(self) -> str:
        """The path of the directory with the state of this container."""
        return self._record.folder.path

    @property
    def cgroup(self) -> Manager:
        """The manager of its cgroup."""
        return self._record.cgroup

    @property
    def shares_pid_namespace(self) -> bool:
        """Whether the container has no PID namespace of its own.

        Its processes then go on when its first process ends.
        """
        return not self.config.namespaces.is_private(NamespaceType.NEWPID)

    def state(self) -> State:
        """Return what is known about the container, with the current paths of its namespaces."""
        record = self._record
        pid = record.state.init_process_pid if record.is_alive() else 0
        return record.state.replace(namespace_paths=namespace_paths(pid) if pid else {})

    def status(self) -> str:
        """Return the OCI status: "creating", "created", "running", "paused" or "stopped"."""
        return self._record.status()

    def oci_state(self, status: str = "", pid: int = 0) -> dict[str, Any]:
        """Return the OCI state of the container, for hooks and for the command `state`.

        The OCI runtime specification describes it in runtime.md, "State".

        Args:
            status: the status to report; "" means the current one.
            pid: the pid to report; 0 means that of the first process if it runs.
        """
        return self._record.oci_state(status, pid)

    def processes(self) -> list[int]:
        """Return the pids of all its processes, as the calling process sees them."""
        return self.cgroup.pids()

    def stats(self) -> dict[str, Any]:
        """Return the resources that the container uses, as in `runc events --stats`.

        There are no network interfaces in it. runc reports only interfaces that it has created
        itself, and an OCI configuration cannot ask for these.
        """
        return {**self.cgroup.stats(), "network_interfaces": None}

    # ---- its namespaces

    encode_id_mapping = staticmethod(encode)
    requires_root_or_mapping_tool = staticmethod(requires_root_or_mapping_tool)

    def bootstrap_data(self, process: Process, pidfd: int = -1) -> BootstrapData:
        """Return the bootstrap message by which nsexec creates or joins the namespaces.

        Args:
            process: the process to start. For an init, nsexec creates the namespaces; any other
                process joins those of the init.
            pidfd: the pidfd of the init, for a process that joins it.
        """
        config = self.config
        oom = process.config.oom_score_adj
        oom = config.oom_score_adj if oom is None else oom
        if process.init:
            return bootstrap_data(
                config.namespaces,
                uid_mappings=config.uid_mappings,
                gid_mappings=config.gid_mappings,
                rootless_euid=config.rootless_euid,
                oom_score_adj=oom,
                time_offsets=config.time_offsets,
            )
        return bootstrap_data(
            Namespaces(self.order_namespace_paths(pidfd)),
            rootless_euid=config.rootless_euid,
            oom_score_adj=oom,
        )

    def order_namespace_paths(self, pidfd: int) -> Iterator[Namespace]:
        """Yield the namespaces that a further process joins, in the order in which it joins them.

        Namespaces that the container shares with the calling process are left out: they need not be
        joined, and a process cannot join its own user namespace.

        Args:
            pidfd: the pidfd of the init.
        """
        pid = self._record.state.init_process_pid
        for kind in supported_namespaces():
            name = kind.ns_name()
            if not os.path.samefile(f"/proc/{pid}/ns/{name}", f"/proc/self/ns/{name}"):
                yield Namespace.from_fd(kind, pidfd)

    # ---- its processes

    def start(self, process: Process) -> None:
        """Start a process in the container.

        The init stops before it executes its program, until `exec` is called. A further process
        (`Process(init=False)`) runs at once.

        Args:
            process: the process to start.

        Raises:
            BootstrapError: the process could not be started. The error names the stage, the
                operation, its subject and errno. Nothing is left of the process.
            ConfigError: the configuration of a further process is not valid.
            ContainerError: the container already has an init, or its state does not allow a start.
        """
        self._start(process, gate=True)

    def _start(self, process: Process, *, gate: bool) -> None:
        record = self._record
        with record.locked():
            if process.init:
                if record.state.init_process_pid:
                    raise ContainerError("container already has an init process")
                self.new_init_process(process).start(gate=gate)
                return
        validate_process(process.config)
        # The container is not locked here: several processes can be started at the same time, and
        # in a paused container a start does not return until the container is resumed.
        with self.new_setns_process(process) as further:
            further.start()

    def new_init_process(self, process: Process) -> InitProcess:
        """Return what `start` gives to the first process, before anything is started.

        Args:
            process: the process, with init=True.

        Returns:
            An object with the attributes `env`, `bootstrap_data`, `manager` (of the cgroup),
            `config` (see libcontainer.init.config) and `shares_pid_namespace`. If the PID namespace
            is shared, the first process is not PID 1, and the other processes go on when it ends;
            `signal` and `destroy` then reach every process of the cgroup.

        Raises:
            ValueError: the process has init=False.
        """
        from libcontainer.process_start import InitProcess

        if not process.init:
            raise ValueError("new_init_process requires a Process with init=True")
        record = self._record
        return InitProcess(record, process, record.cgroup, self.bootstrap_data(process))

    def new_setns_process(self, process: Process) -> SetnsProcess:
        """Return what `start` gives to a further process, before anything is started.

        A further process joins the namespaces of the container.

        Args:
            process: the process, with init=False.

        Returns:
            An object with the attributes `env`, `bootstrap_data`, `manager` and `config`. It has a
            pidfd of the first process, so close it, or use it in a with statement.

        Raises:
            ValueError: the process has init=True.
            ContainerError: the container is stopped.
        """
        from libcontainer.process_start import SetnsProcess

        if process.init:
            raise ValueError("new_setns_process requires a Process with init=False")
        pidfd = self._record.pidfd()
        if pidfd < 0:
            raise ContainerError("cannot exec in a stopped container")
        try:
            data, manager = self.bootstrap_data(process, pidfd), self._further_cgroup(process)
            return SetnsProcess(self._record, process, manager, data, pidfd)
        except BaseException:
            close(pidfd)
            raise

    def _further_cgroup(self, process: Process) -> Manager:
        """Return the manager of the cgroup for a further process."""
        if process.sub_cgroup_paths:
            return self.cgroup.below(process.sub_cgroup_paths)
        return self.cgroup.for_further(self._record.state.init_process_pid)

    def exec(self) -> None:
        """Let the init of a created container execute its program (the command `runc start`).

        Raises:
            OSError: a poststart hook failed. The container has then been killed and removed.
            ContainerError: the container is not in the status "created".
        """
        with self._record.locked():
            status = self.status()
            if status in (RUNNING, PAUSED):
                raise ContainerError("cannot start an already running container")
            if status != CREATED:
                raise ContainerError("cannot start a container that has stopped")
            self._open_gate()
        self._run_poststart()

    def _open_gate(self) -> None:
        try:
            fd = os.open(self._record.folder.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                close(fd)
        except (FileNotFoundError, BrokenPipeError):
            raise ContainerError("cannot start a container that has stopped") from None
        except OSError as error:
            if error.errno != ENXIO:  # no process has the fifo open for reading
                raise
            raise ContainerError("cannot start a container that has stopped") from None
        self._record.folder.remove_fifo()

    def run(self, process: Process) -> None:
        """Start a process in the container. An init executes its program at once.

        This is `start`, followed by `exec` if the process is an init.

        Args:
            process: the process to start.

        Raises:
            NsenterError: the same as `start` and `exec`.
        """
        self._start(process, gate=False)
        if process.init:
            self._run_poststart()

    def _run_poststart(self) -> None:
        """Run the poststart hooks. If one fails, remove the container (runtime.md, "Lifecycle")."""
        if not self.config.hooks.poststart:
            return
        try:
            self.run_hooks("poststart", RUNNING)
        except BaseException as error:
            undo(error, self.kill_and_destroy)
            raise

    def signal(self, number: int) -> None:
        """Send a signal to the first process of the container.

        SIGKILL is sent to all processes if the PID namespace is shared.

        Args:
            number: the number of the signal.

        Raises:
            ContainerError: the container is not running.
        """
        # In a shared PID namespace, the kernel does not kill the other processes with the first.
        if number == _signal.SIGKILL and self.shares_pid_namespace:
            if not self._record.is_alive() and not self.processes():
                raise self._not_running()
            self.signal_all(number)
            return
        fd = self._record.pidfd()
        if fd < 0:
            raise self._not_running()
        try:
            send_signal(fd, self._record.state.init_process_pid, number)
        finally:
            close(fd)
        if number == _signal.SIGKILL and self.cgroup.freezer_state() == FROZEN:
            # A frozen process of cgroup v1 dies when it is thawed.
            self.cgroup.thaw()

    def signal_all(self, number: int) -> None:
        """Send a signal to every process in the cgroup of the container."""
        self.cgroup.kill(number)

    def _not_running(self) -> ContainerError:
        return ContainerError("container not running")

    def pause(self) -> None:
        """Freeze all processes of the container.

        Raises:
            ContainerError: the container is neither running nor created.
        """
        with self._record.locked():
            if self.status() not in (RUNNING, CREATED):
                raise ContainerError(f"container not running or created: {self.status()}")
            self.cgroup.freeze()

    def resume(self) -> None:
        """Let the processes of a paused container go on.

        Raises:
            ContainerError: the container is not paused.
        """
        with self._record.locked():
            if self.status() != PAUSED:
                raise ContainerError("container not paused")
            self.cgroup.thaw()

    def set(self, config: Config) -> None:
        """Change the limits of the cgroup (the command `update`).

        If this fails, the previous limits are set again.

        Args:
            config: the configuration with the new limits, in cgroups.resources.

        Raises:
            ContainerError: the container is stopped.
            OSError: the kernel refuses a value, or the state cannot be saved. The error names the
                file.
        """
        with self._record.locked():
            if self.status() == STOPPED:
                raise ContainerError("container not running")
            before = self.config
            try:
                self.cgroup.set(config.cgroups.resources)
                self._record.save(config=config)
            except OSError as error:
                self._record.state = self._record.state.replace(config=before)
                undo(error, lambda: self.cgroup.set(before.cgroups.resources))
                raise

    # ---- its end

    def destroy(self) -> None:
        """Remove a stopped container: its cgroup and its state. Run its poststop hooks.

        Raises:
            ContainerError: the container is not stopped.
        """
        with self._record.locked():
            status = self.status()
            # If the container has no process, its status is "creating" because it is locked: but
            # the lock is our own.
            if status != STOPPED and self._record.state.init_process_pid:
                raise ContainerError(f"container is not stopped: it is {status}")
            self._remove()

    def kill_and_destroy(self) -> None:
        """Kill all processes of the container and remove it (the command `delete --force`).

        Another command may hold the lock because it is stopped, or waits for a hook. After two
        seconds the container is removed without the lock: its processes are dead by then. If there
        is no such container any more, nothing happens.
        """
        record = self._record
        try:
            record.refresh()
            self._kill()
            with record.locked_by_force(self.warn):
                self._kill()  # processes that were started in the meantime
                self._remove()
        except ContainerNotFoundError:
            return  # another process has removed it

    def _kill(self) -> None:
        fd = self._record.pidfd()
        if fd >= 0:
            try:
                send_signal(fd, self._record.state.init_process_pid, _signal.SIGKILL)
            except (ProcessLookupError, Failure):
                pass  # a seccomp filter refuses the call: kill_all below works without it
            finally:
                close(fd)
        self.cgroup.kill_all(self._record.is_alive)

    def _remove(self) -> None:
        if self.shares_pid_namespace:
            self._kill()
        self.cgroup.destroy()
        try:
            self._run_poststop()
        finally:
            self._record.folder.remove()

    def _run_poststop(self) -> None:
        """Run the poststop hooks. If one fails, warn and run the next (runtime.md, "Lifecycle")."""
        for number, hook in enumerate(self.config.hooks.poststop):
            try:
                self._record.run_hooks("poststop", (hook,), STOPPED, first=number)
            except OSError as error:
                self.warn(message(error))

    def run_hooks(self, kind: str, status: str, pid: int = 0) -> None:
        """Run the hooks of one kind in the namespaces of the calling process.

        Args:
            kind: "prestart", "createRuntime" or "poststart".
            status: the status of the container that the hooks are told.
            pid: the pid that the hooks are told; 0 means that of the first process if it runs.

        Raises:
            OSError: a hook failed; the hooks after it are not run.
        """
        hooks = getattr(self.config.hooks, _HOOK_FIELDS[kind])
        self._record.run_hooks(kind, hooks, status, pid)


_HOOK_FIELDS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "poststart": "poststart",
}
