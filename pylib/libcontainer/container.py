# SPDX-License-Identifier: Apache-2.0
"""A container: made, started, signalled, paused and destroyed, by any process that may.

What one command knows of it, the next reads from its state folder (libcontainer.state). The
names and the meaning are those of runc's libcontainer (container_linux.go).
"""

from __future__ import annotations

import _signal
import os
import time
from collections.abc import Callable, Iterator
from errno import ENXIO

from libcontainer.cgroups import FROZEN, Manager, new_manager
from libcontainer.configs import Config, Hook
from libcontainer.configs.validate import validate, validate_process
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.process import Process
from libcontainer.runc_messages import message
from libcontainer.state import State, StateFolder, is_id, start_time_of
from nsenter._host import json_text
from nsenter._host.cleanup import close, undo
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure, send_signal, signal_handle
from nsenter.bootstrap import BootstrapData, bootstrap_data, requires_root_or_mapping_tool
from nsenter.idmap import encode
from nsenter.namespaces import Namespace, Namespaces, NamespaceType, supported_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = ["Container", "list_containers"]

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating created running paused stopped".split()


def list_containers(root: str) -> list[str]:
    """The ids of all containers whose state is below `root`, half-made ones too; none where there
    is no such folder."""
    try:
        with os.scandir(root) as entries:
            folders = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(filter(is_id, folders))


def _now() -> str:
    """In the form in which Go writes a time: a fraction of a second does not end with a zero."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{fraction}Z"


class Container:
    """One container; made by `create` or `load`.

    Attributes:
        id: its name.
        config: what it is.
        warn: is called with a text where something went wrong that stops nothing, such as a
            poststop hook; to be set by who wants to know.
    """

    def __init__(self, folder: StateFolder, state: State) -> None:
        self._folder = folder
        self._state = state
        self.id = folder.id
        # Told of what went wrong and stops nothing.
        self.warn: Callable[[str], None] = lambda text: None
        self._manager: Manager | None = None

    def __repr__(self) -> str:
        return f"<Container {self.id!r} in {self._folder.root}>"

    @classmethod
    def create(cls, root: str, id: str, config: Config, *, bundle: str = "") -> Container:
        """Make a container without a process. As runc's libcontainer.Create.

        Args:
            root: the folder of all containers' state, absolute.
            id: its name.
            config: what it is to be.
            bundle: the folder of its config.json, for `oci_state`.

        Raises:
            ConfigError: the configuration is refused; nothing was made.
            ContainerError: the id is taken or cannot be one.
        """
        folder = StateFolder(root, id)
        validate(config)
        state = State(
            id=id, config=config, created=_now(), rootless=config.rootless_euid, bundle=bundle
        )
        self = cls(folder, state)
        folder.make()
        try:
            self._check_cgroup_is_free()
            # Whoever kills us now finds what to clean up.
            self._save(cgroup_paths=self.cgroup.paths())
        except BaseException as error:
            undo(error, folder.remove)
            raise
        finally:
            folder.unlock()
        return self

    @classmethod
    def load(cls, root: str, id: str) -> Container:
        """A container by its id. As runc's libcontainer.Load.

        Raises:
            ContainerError: there is none.
        """
        folder = StateFolder(root, id)
        state = folder.load()
        if state is None:
            raise ContainerError(
                f"container {id!r} was not made completely; `delete --force` removes it"
            )
        return cls(folder, state)

    # ---- what it is

    @property
    def config(self) -> Config:
        """What it is."""
        return self._state.config

    @property
    def root_folder(self) -> str:
        """The folder of its state."""
        return self._folder.path

    @property
    def cgroup(self) -> Manager:
        """Who manages its cgroup."""
        if self._manager is None:
            state = self._state
            # Of a container that runs, none means that none could be made.
            known = state.cgroup_paths or state.init_process_pid
            self._manager = new_manager(self.config.cgroups, state.cgroup_paths if known else None)
        return self._manager

    @property
    def shares_pid_namespace(self) -> bool:
        """Whether its processes outlive its first, as they do in a pid namespace of others'."""
        return not self.config.namespaces.is_private(NamespaceType.NEWPID)

    def state(self) -> State:
        """What is known of it, with the namespace paths of now."""
        pid = self._state.init_process_pid if self._is_alive() else 0
        return self._state.replace(namespace_paths=self._namespace_paths(pid) if pid else {})

    def status(self) -> str:
        """ "creating", "created", "running", "paused" or "stopped", as OCI's."""
        try:
            self._refresh()
        except ContainerNotFoundError:
            return STOPPED
        if not self._state.init_process_pid:
            return CREATING if self._folder.is_locked() else STOPPED
        if not self._is_alive():
            return STOPPED
        if self._state.is_creating:
            return CREATING
        if self.cgroup.freezer_state() == FROZEN:
            return PAUSED
        return CREATED if os.path.exists(self._folder.fifo) else RUNNING

    def oci_state(self, status: str = "", pid: int = 0) -> dict[str, Any]:
        """OCI's state of the container (runtime.md, "State"), for hooks and `state`."""
        labels = dict(label.partition("=")[::2] for label in self.config.labels)
        bundle = self._state.bundle or labels.pop("bundle", "")
        labels.pop("bundle", None)
        status = status or self.status()
        alive = self._state.init_process_pid if status not in (STOPPED, CREATING) else 0
        return {
            "ociVersion": self.config.version or "1.0.2",
            "id": self.id,
            "status": status,
            **({"pid": pid or alive} if pid or alive else {}),
            "bundle": bundle,
            **({"annotations": labels} if labels else {}),
        }

    def processes(self) -> list[int]:
        """The pids of all its processes, as this process sees them."""
        return self.cgroup.pids()

    def stats(self) -> dict[str, Any]:
        """What it uses, as `runc events --stats` tells it. No network interface is told of: runc
        does so of those that it has made itself, which OCI's configuration cannot ask for."""
        return {**self.cgroup.stats(), "network_interfaces": None}

    def _is_alive(self) -> bool:
        pid, started = self._state.init_process_pid, self._state.init_process_start
        # It had no start time if it was dead already when it was to be saved.
        return pid > 0 and started > 0 and start_time_of(pid) == started

    def _namespace_paths(self, pid: int) -> dict[str, str]:
        """As runc records them: every kind that the kernel has."""
        return {k.value: f"/proc/{pid}/ns/{k.ns_name()}" for k in supported_namespaces()}

    def _save(self, **changes: Any) -> None:
        self._state = self._state.replace(**changes)
        self._folder.save(self._state)

    def _forget_process(self) -> None:
        """It could not be started."""
        changes = {"init_process_pid": 0, "init_process_start": 0, "namespace_paths": {}}
        with suppress(ContainerNotFoundError):
            self._save(**changes, is_creating=False)

    def _refresh(self) -> None:
        """What others may have done since it was read.

        Raises:
            ContainerError: it has been deleted, and maybe another of its name been made.
        """
        if self._folder.is_as_known():
            return
        found = self._folder.load()
        if found is None or found.created != self._state.created:
            self._folder.forget()  # it is not known: whoever asks next hears the same
            raise self._folder.missing()
        self._state = found

    def _locked(self, *, by_force: bool = False) -> _Locked:
        return _Locked(self, by_force=by_force)

    def _check_cgroup_is_free(self) -> None:
        """A cgroup with processes in it is somebody's; in a frozen one nothing would ever start."""
        manager = self.cgroup
        frozen = manager.frozen_place()
        if frozen:
            why = f"thaw {frozen}, or use another"
            raise ContainerError(f"container's cgroup unexpectedly frozen: {why}")
        if manager.exists() and manager.has_processes():
            found = len(manager.pids()) or "another pid namespace's"
            raise ContainerError(f"container's cgroup is not empty: {found} process(es) found")

    # ---- its namespaces

    encode_id_mapping = staticmethod(encode)
    requires_root_or_mapping_tool = staticmethod(requires_root_or_mapping_tool)

    def bootstrap_data(self, process: Process, pidfd: int = -1) -> BootstrapData:
        """The message that has nsexec make the namespaces of its init, or join them.

        Args:
            process: the one to start.
            pidfd: of the init, for a process that joins it.
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
        """The namespaces that a further process joins, in order, by the pidfd of the init.

        Those that the container shares with us are left out: nothing is to be joined there, and
        one's own user namespace cannot be.
        """
        pid = self._state.init_process_pid
        for kind in supported_namespaces():
            name = kind.ns_name()
            if not os.path.samefile(f"/proc/{pid}/ns/{name}", f"/proc/self/ns/{name}"):
                yield Namespace.from_fd(kind, pidfd)

    # ---- its processes

    def start(self, process: Process) -> None:
        """Start a process in it.

        Its init stops before the program is executed, until `exec` lets it go on; a further
        process (`Process(init=False)`) runs at once.

        Raises:
            BootstrapError: it could not be started; names the stage, the operation, its subject
                and errno. Nothing is left of it.
            ContainerError: the container is in no state for it.
        """
        self._start(process, gate=True)

    def _start(self, process: Process, *, gate: bool) -> None:
        from libcontainer.starting import start_further, start_init

        with self._locked():
            if process.init:
                if self._state.init_process_pid:
                    raise ContainerError("container already has an init process")
                start_init(self, process, gate=gate)
                return
        validate_process(process.config)
        # Not locked: many can be started at once, and in a paused container one takes until it is
        # resumed.
        start_further(self, process)

    def new_init_process(self, process: Process) -> dict[str, Any]:
        """What `start` tells a first process, to look at (libcontainer.init.config). In a pid
        namespace that is shared it is not the first there, and does not take the others with it
        when it ends: then `signal` and `destroy` reach every process of the cgroup."""
        return self._orders(process, init=True)

    def new_setns_process(self, process: Process) -> dict[str, Any]:
        """The same for a further process, which joins the namespaces."""
        return self._orders(process, init=False)

    def _orders(self, process: Process, *, init: bool) -> dict[str, Any]:
        from libcontainer.starting import init_orders

        if process.init != init:
            raise ValueError(f"Process(init={process.init}): this is about init={init}")
        return init_orders(self, process)

    def exec(self) -> None:
        """Let the init of a created container execute its program (runc's `start`).

        Raises:
            Failure: a poststart hook failed. The container is gone then.
            ContainerError: it is not created, or is started already.
        """
        with self._locked():
            status = self.status()
            if status in (RUNNING, PAUSED):
                raise ContainerError("cannot start an already running container")
            if status != CREATED:
                raise ContainerError("cannot start a container that has stopped")
            self._open_gate()
        self._run_poststart()

    def _open_gate(self) -> None:
        try:
            fd = os.open(self._folder.fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, b"0")
            finally:
                close(fd)
        except (FileNotFoundError, BrokenPipeError):
            raise ContainerError("cannot start a container that has stopped") from None
        except OSError as error:
            if error.errno != ENXIO:  # nobody has it open for reading
                raise
            raise ContainerError("cannot start a container that has stopped") from None
        self._folder.remove_fifo()

    def run(self, process: Process) -> None:
        """`start`, and `exec` where it is the first process, in one go."""
        self._start(process, gate=False)
        if process.init:
            self._run_poststart()

    def _run_poststart(self) -> None:
        """Where one fails, the container is taken away again (runtime.md, "Lifecycle")."""
        if not self.config.hooks.poststart:
            return
        try:
            self.run_hooks("poststart", RUNNING)
        except BaseException as error:
            undo(error, self.kill_and_destroy)
            raise

    def signal(self, number: int) -> None:
        """Send a signal to its first process; with a shared pid namespace and SIGKILL, to all.

        Raises:
            ContainerError: it is not running.
        """
        # The processes of a shared pid namespace do not end with the first.
        if number == _signal.SIGKILL and self.shares_pid_namespace:
            if not self._is_alive() and not self.processes():
                raise self._not_running()
            self.signal_all(number)
            return
        fd = self._pidfd()
        if fd < 0:
            raise self._not_running()
        try:
            send_signal(fd, self._state.init_process_pid, number)
        finally:
            close(fd)
        if number == _signal.SIGKILL and self.cgroup.freezer_state() == FROZEN:
            # A frozen process of cgroup v1 dies when it is thawed.
            self.cgroup.thaw()

    def signal_all(self, number: int) -> None:
        """Send a signal to every process in its cgroup."""
        self.cgroup.kill(number)

    def _not_running(self) -> ContainerError:
        return ContainerError("container not running")

    def _pidfd(self) -> int:
        """Of the init, which a reused pid is never taken for; -1 where it has ended."""
        pid = self._state.init_process_pid
        if not pid:
            return -1
        try:
            fd = signal_handle(pid)
        except ProcessLookupError:
            return -1
        if self._is_alive():
            return fd
        os.close(fd)
        return -1

    def pause(self) -> None:
        """Freeze all its processes.

        Raises:
            ContainerError: it is not running.
        """
        with self._locked():
            if self.status() not in (RUNNING, CREATED):
                raise ContainerError(f"container not running or created: {self.status()}")
            self.cgroup.freeze()

    def resume(self) -> None:
        """Let them go on.

        Raises:
            ContainerError: it is not paused.
        """
        with self._locked():
            if self.status() != PAUSED:
                raise ContainerError("container not paused")
            self.cgroup.thaw()

    def set(self, config: Config) -> None:
        """Change what its cgroup limits (`update`). If that fails, the limits are as before.

        Raises:
            ContainerError: it is stopped.
            OSError: the kernel refuses a value, or the state cannot be saved; names the file.
        """
        with self._locked():
            if self.status() == STOPPED:
                raise ContainerError("container not running")
            before = self.config
            try:
                self.cgroup.set(config.cgroups.resources)
                self._save(config=config)
            except OSError as error:
                self._state = self._state.replace(config=before)
                undo(error, lambda: self.cgroup.set(before.cgroups.resources))
                raise

    # ---- its end

    def destroy(self) -> None:
        """Take away a container whose processes have ended: its cgroup, its state, poststop.

        Raises:
            ContainerError: it still runs.
        """
        with self._locked():
            status = self.status()
            # Without a process it seems to be created, by who holds the lock: that is us.
            if status != STOPPED and self._state.init_process_pid:
                raise ContainerError(f"container is not stopped: it is {status}")
            self._remove()

    def kill_and_destroy(self) -> None:
        """Kill all its processes and take it away (`delete --force`).

        It is done without the lock if another command, which may be stopped or wait for a hook,
        keeps that for over two seconds: its processes are dead by then.
        """
        try:
            self._refresh()
            self._kill()
            with self._locked(by_force=True):
                self._kill()  # what was started meanwhile
                self._remove()
        except ContainerNotFoundError:
            return  # somebody else has taken it away

    def _kill(self) -> None:
        fd = self._pidfd()
        if fd >= 0:
            try:
                send_signal(fd, self._state.init_process_pid, _signal.SIGKILL)
            except (ProcessLookupError, Failure):
                pass  # a filter refuses the call: what follows does without
            finally:
                close(fd)
        self.cgroup.kill_all(self._is_alive)

    def _remove(self) -> None:
        if self.shares_pid_namespace:
            self._kill()
        self.cgroup.destroy()
        try:
            self._run_poststop()
        finally:
            self._folder.remove()

    def _run_poststop(self) -> None:
        """One that fails is told of, and the next is run (runtime.md, "Lifecycle")."""
        for number, hook in enumerate(self.config.hooks.poststop):
            try:
                self._run_hooks("poststop", (hook,), STOPPED, first=number)
            except OSError as error:
                self.warn(message(error))

    def run_hooks(self, kind: str, status: str, pid: int = 0) -> None:
        """Run the hooks of one kind in our namespaces.

        Args:
            kind: "prestart", "createRuntime" or "poststart".
            status: of the container, as they are told it.
        """
        self._run_hooks(kind, getattr(self.config.hooks, _HOOK_FIELDS[kind]), status, pid)

    def _run_hooks(
        self, kind: str, hooks: tuple[Hook, ...], status: str, pid: int = 0, *, first: int = 0
    ) -> None:
        from libcontainer.hooks import run_hooks

        state = self.oci_state(status, pid)
        run_hooks(kind, hooks, json_text.dumps(state), state["bundle"], first)


_HOOK_FIELDS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "poststart": "poststart",
}


class _Locked:
    """Holds the lock of a container, with its state read anew.

    Args:
        by_force: go on without the lock if it is not free for a while, and tell of who has it.
    """

    def __init__(self, container: Container, *, by_force: bool) -> None:
        self._container = container
        self._by_force = by_force

    def __enter__(self) -> None:
        container, folder = self._container, self._container._folder
        if not self._by_force:
            folder.lock()
        elif holder := folder.lock(by_force=True):
            container.warn(
                f"container {container.id!r} is deleted although {holder} is changing it"
            )
        try:
            container._refresh()
        except BaseException:
            folder.unlock()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._container._folder.unlock()
