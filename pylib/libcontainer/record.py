# SPDX-License-Identifier: Apache-2.0
"""A container on disk: its state, its lock, and the status that follows from both.

Everything that concerns a container that exists is on top of a `Record`: the public `Container`,
and the start of its processes (libcontainer.process_start).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from libcontainer.cgroups import FROZEN, Manager, new_manager
from libcontainer.configs import Config, Hook
from libcontainer.errors import ContainerError, ContainerNotFoundError
from libcontainer.state import State
from libcontainer.state_folder import StateFolder, is_id
from nsenter._host import json_text
from nsenter._host.cleanup import undo
from nsenter._host.procfs import start_time_of
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import signal_handle
from nsenter.namespaces import supported_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "CREATED",
    "PAUSED",
    "RUNNING",
    "STOPPED",
    "Record",
    "list_containers",
    "namespace_paths",
]

CREATING, CREATED, RUNNING, PAUSED, STOPPED = "creating created running paused stopped".split()


def list_containers(root: str) -> list[str]:
    """Return the ids of all containers in a state directory, in alphabetical order.

    Containers that are only partly created are included.

    Args:
        root: the directory of all containers' state. If it does not exist, the result is empty.
    """
    try:
        with os.scandir(root) as entries:
            folders = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(filter(is_id, folders))


def _now() -> str:
    """Return the time as Go writes it: a fraction of a second does not end with a zero."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}{fraction}Z"


class Record:
    """What is recorded about a container. `create` makes a new one, `load` reads one.

    Attributes:
        id: the name of the container.
        folder: the directory with its state.
        state: the state, as this process has read or written it last.
    """

    def __init__(self, folder: StateFolder, state: State) -> None:
        self.id = folder.id
        self.folder = folder
        self.state = state
        self._manager: Manager | None = None

    @classmethod
    def create(cls, root: str, id: str, config: Config, bundle: str) -> Record:
        """Record a new container that has no process yet.

        Raises:
            ContainerError: the id is taken or not valid, or the cgroup is in use or frozen.
        """
        folder = StateFolder(root, id)
        state = State(
            id=id, config=config, created=_now(), rootless=config.rootless_euid, bundle=bundle
        )
        self = cls(folder, state)
        folder.make()
        try:
            _check_is_free(self.cgroup)
            # If this process is killed from here on, the state says what must be cleaned up.
            self.save(cgroup_paths=self.cgroup.paths())
        except BaseException as error:
            undo(error, folder.remove)
            raise
        finally:
            folder.unlock()
        return self

    @classmethod
    def load(cls, root: str, id: str) -> Record:
        """Read the record of a container.

        Raises:
            ContainerNotFoundError: there is no such container.
            ContainerError: the id is not valid, or the container was created only partly, or its
                state cannot be read.
        """
        folder = StateFolder(root, id)
        state = folder.load()
        if state is None:
            raise ContainerError(
                f"container {id!r} was not made completely; `delete --force` removes it"
            )
        return cls(folder, state)

    # ---- the lock

    def locked(self) -> Locked:
        """Return a context manager that holds the lock, and has read the state again.

        Raises:
            ContainerNotFoundError: the container has been deleted.
            ContainerError: another command holds the lock.
        """
        return Locked(self)

    def locked_by_force(self, warn: Callable[[str], None]) -> Locked:
        """The same as `locked`, but go on without the lock if it is not free in time.

        Args:
            warn: is then called with a text that names the holder.
        """
        return Locked(self, warn)

    def refresh(self) -> None:
        """Read the state again if another process has changed it.

        Raises:
            ContainerNotFoundError: the container has been deleted. There may be another one of the
                same name by now.
        """
        if self.folder.is_as_known():
            return
        found = self.folder.load()
        if found is None or found.created != self.state.created:
            self.folder.forget()  # so that the next call reads it again and fails the same way
            raise self.folder.missing()
        self.state = found

    # ---- changes; the lock must be held

    def save(self, **changes: Any) -> None:
        """Change fields of the state, here and on disk."""
        self.state = self.state.replace(**changes)
        self.folder.save(self.state)

    def forget_process(self) -> None:
        """Remove the first process from the state: it could not be started."""
        changes = {"init_process_pid": 0, "init_process_start": 0, "namespace_paths": {}}
        with suppress(ContainerNotFoundError):
            self.save(**changes, is_creating=False)

    # ---- what it is

    @property
    def config(self) -> Config:
        """The configuration of the container."""
        return self.state.config

    @property
    def cgroup(self) -> Manager:
        """The manager of the container's cgroup."""
        if self._manager is None:
            state = self.state
            # If the container runs and has no cgroup paths, no cgroup could be made.
            known = state.cgroup_paths or state.init_process_pid
            self._manager = new_manager(self.config.cgroups, state.cgroup_paths if known else None)
        return self._manager

    def status(self) -> str:
        """Return the OCI status of the container."""
        try:
            self.refresh()
        except ContainerNotFoundError:
            return STOPPED
        if not self.state.init_process_pid:
            return CREATING if self.folder.is_locked() else STOPPED
        if not self.is_alive():
            return STOPPED
        if self.state.is_creating:
            return CREATING
        if self.cgroup.freezer_state() == FROZEN:
            return PAUSED
        return CREATED if os.path.exists(self.folder.fifo) else RUNNING

    def oci_state(self, status: str = "", pid: int = 0) -> dict[str, Any]:
        """Return the OCI state of the container; see `Container.oci_state`."""
        labels = dict(label.partition("=")[::2] for label in self.config.labels)
        bundle = self.state.bundle or labels.pop("bundle", "")
        labels.pop("bundle", None)
        status = status or self.status()
        alive = self.state.init_process_pid if status not in (STOPPED, CREATING) else 0
        return {
            "ociVersion": self.config.version or "1.0.2",
            "id": self.id,
            "status": status,
            **({"pid": pid or alive} if pid or alive else {}),
            "bundle": bundle,
            **({"annotations": labels} if labels else {}),
        }

    def run_hooks(
        self, kind: str, hooks: tuple[Hook, ...], status: str, pid: int = 0, *, first: int = 0
    ) -> None:
        """Run hooks in the namespaces of the calling process, with the OCI state on their stdin.

        Args:
            kind: the name of their kind in config.json, for errors.
            hooks: the hooks.
            status, pid: see `oci_state`.
            first: the number of the first hook among those of its kind, for errors.

        Raises:
            OSError: a hook failed; the hooks after it are not run.
        """
        from libcontainer.hooks import run_hooks

        state = self.oci_state(status, pid)
        run_hooks(kind, hooks, json_text.dumps(state), state["bundle"], first)

    # ---- its first process

    def is_alive(self) -> bool:
        """Return whether the first process runs."""
        pid, started = self.state.init_process_pid, self.state.init_process_start
        # The start time is 0 if the process was already dead when the state was saved.
        return pid > 0 and started > 0 and start_time_of(pid) == started

    def pidfd(self) -> int:
        """Return a pidfd of the first process; -1 if it has ended. A reused pid is detected."""
        pid = self.state.init_process_pid
        if not pid:
            return -1
        try:
            fd = signal_handle(pid)
        except ProcessLookupError:
            return -1
        if self.is_alive():
            return fd
        os.close(fd)
        return -1


def namespace_paths(pid: int) -> dict[str, str]:
    """Return the paths as runc records them: one for each type that the kernel supports."""
    return {k.value: f"/proc/{pid}/ns/{k.ns_name()}" for k in supported_namespaces()}


def _check_is_free(manager: Manager) -> None:
    """Refuse a cgroup that has processes, or is frozen.

    Processes in it belong to somebody else, and in a frozen cgroup no process would ever start.
    """
    frozen = manager.frozen_place()
    if frozen:
        why = f"thaw {frozen}, or use another"
        raise ContainerError(f"container's cgroup unexpectedly frozen: {why}")
    if manager.exists() and manager.has_processes():
        found = len(manager.pids()) or "another pid namespace's"
        raise ContainerError(f"container's cgroup is not empty: {found} process(es) found")


class Locked:
    """A context manager that holds the lock of a container, and reads its state again.

    Args:
        record: the record of the container.
        warn: if the lock is not free in time, go on without it, and call this with a text that
            names the holder. None means that this is an error.
    """

    def __init__(self, record: Record, warn: Callable[[str], None] | None = None) -> None:
        self._record = record
        self._warn = warn

    def __enter__(self) -> None:
        record, folder = self._record, self._record.folder
        holder = folder.lock(by_force=self._warn is not None)
        if holder and self._warn:
            self._warn(f"container {record.id!r} is deleted although {holder} is changing it")
        try:
            record.refresh()
        except BaseException:
            folder.unlock()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._record.folder.unlock()
