# SPDX-License-Identifier: Apache-2.0
"""The interface of all managers of cgroups."""

from __future__ import annotations

import os
import time
from errno import EBUSY, ENODEV, ENOENT, EPERM

from libcontainer.cgroups import files
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from libcontainer.cgroups.oom import OomWatch
    from libcontainer.configs import Resources

_SIGKILL = 9
_NAP = 0.01
_KILL_SECONDS = 10.0

RUNNING, FROZEN, UNDEFINED = "running", "frozen", "undefined"


class Manager:
    """The cgroup of a container."""

    def create(self) -> None:
        """Make the cgroup, without a process in it. If this fails, nothing of it is left.

        Raises:
            Failure: a directory could not be made. The error names it.
        """
        raise NotImplementedError

    def create_entry(self) -> None:
        """Make the part into which a process is cloned.

        `create_rest` makes the other parts, and can run while the process starts.
        """
        self.create()

    def create_rest(self) -> None:
        """Make the parts of the cgroup that `create_entry` has not made."""

    def fd(self) -> int | None:
        """Return a descriptor for CLONE_INTO_CGROUP; None if that is not possible.

        The caller must close it.
        """
        return None

    def has_doors(self) -> bool:
        """Return whether a process enters the cgroup, or the rest of it, by `doors`.

        If there are neither doors nor `fd`, the process must be moved, which takes a grace period
        of RCU (6 to 20 ms).
        """
        return False

    def doors(self) -> list[int]:
        """Return descriptors of files to which a process writes "0" to enter the cgroup.

        It must do so before it has a second thread. The caller must close them.
        """
        return []

    def may_be_entered(self) -> bool:
        """Return whether this process has the rights that `fd`, `doors` and `add` require."""
        return True

    def add(self, pid: int) -> None:
        """Move a process into the cgroup."""
        raise NotImplementedError

    def set(self, resources: Resources) -> None:
        """Set the limits that are given. Others are left unchanged.

        Raises:
            Failure: a limit could not be set. The error names the file and the value.
            ConfigError: this machine's cgroups have no such limit.
        """
        raise NotImplementedError

    def check(self, resources: Resources) -> None:
        """Check what must be checked before the limits are set.

        Raises:
            Failure: more memory is in use than the limits allow, and the configuration asks to
                check this.
        """

    def freeze(self) -> None:
        """Freeze all processes in the cgroup.

        Raises:
            Failure: they were not frozen in time.
        """
        raise NotImplementedError

    def thaw(self) -> None:
        """Let the processes of a frozen cgroup go on."""
        raise NotImplementedError

    def freezer_state(self) -> str:
        """Return RUNNING or FROZEN, or UNDEFINED if the cgroup has no freezer."""
        raise NotImplementedError

    def frozen_place(self) -> str:
        """Return the directory of the cgroup if it is frozen, otherwise "".

        If the cgroup has not been made, this is about the nearest one above it that exists.
        """
        return ""

    def pids(self, recursive: bool = True) -> list[int]:
        """Return the pids of the processes in the cgroup, and with `recursive` of those below."""
        path = self._processes_path()
        return sorted(set(files.pids(path, recursive))) if path else []

    def has_processes(self) -> bool:
        """Return whether there is a process in the cgroup or below it.

        The process may have no pid in the PID namespace of the caller.
        """
        path = self._processes_path()
        return bool(path) and files.has_processes(path)

    def everyone(self) -> list[int]:
        """Return the pids of the processes in any directory of the cgroup.

        A process that is just being started may not be in all of them yet.
        """
        return self.pids()

    def stats(self) -> dict[str, Any]:
        """Return the resources that the cgroup uses, as in "data" of `runc events --stats`."""
        raise NotImplementedError

    def watch_oom(self) -> OomWatch:
        """Return an object that reports OOM kills in the cgroup. It has a fileno() to wait on."""
        raise NotImplementedError

    def oom_events(self) -> Iterator[None]:
        """Yield an item after each OOM kill in the cgroup, until the cgroup is gone."""
        with self.watch_oom() as watch:
            while not watch.gone:
                if watch.wait():
                    yield

    def has_oom_kills(self) -> bool:
        """Return whether there has been an OOM kill in the cgroup."""
        path = self.paths().get("memory") or self.paths().get("", "")
        counts = (files.table(f"{path}/{name}") for name in ("memory.events", "memory.oom_control"))
        return any(count.get("oom_kill") for count in counts)

    def kill(self, number: int) -> None:
        """Send a signal to every process in the cgroup and below it.

        The processes are frozen in the meantime, so that none escapes by forking.

        Raises:
            Failure: this process may not signal one of them. All others have been signalled.
        """
        is_held = self._hold_still()
        try:
            self._signal(number)
        finally:
            if is_held:
                self.thaw()

    def _hold_still(self) -> bool:
        """Freeze all its processes. Return False if they were frozen already, or cannot be."""
        try:
            if self.freezer_state() != RUNNING:
                return False
            self.freeze()
        except Failure:
            return False
        return True

    def _signal(self, number: int) -> None:
        refused: list[int] = []
        for pid in self.everyone():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            except PermissionError:
                refused.append(pid)
        if refused:
            raise Failure("kill", f"process {refused[0]} of {self._processes_path()}", EPERM)

    def kill_all(self, also: Callable[[], bool] = lambda: False) -> None:
        """Kill every process in the cgroup and below it, and wait until they are gone.

        Args:
            also: returns whether there is another process to wait for, which may not be in the
                cgroup.

        Raises:
            Failure: some processes do not die.
        """
        deadline = time.monotonic() + _KILL_SECONDS
        while (left := self.everyone()) or also():
            if time.monotonic() > deadline:
                why = "they wait in the kernel, or a cgroup above theirs is frozen"
                raise Failure("kill", f"processes {left} of {self._processes_path()}", EBUSY, why)
            try:
                self.kill(_SIGKILL)
            except Failure as failure:
                if failure.errno not in (ENOENT, ENODEV):  # another command has removed it
                    raise
            time.sleep(_NAP)

    def destroy(self) -> None:
        """Remove the cgroup and all cgroups below it. If they do not exist, nothing happens.

        Raises:
            Failure: there are processes in the cgroup that do not end.
        """
        raise NotImplementedError

    def exists(self) -> bool:
        """Return whether the cgroup exists."""
        path = self._processes_path()
        return bool(path) and os.path.isdir(path)

    def paths(self) -> dict[str, str]:
        """Return the directories of the cgroup by controller. The key of cgroup v2 is ""."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Return what mounts of type "cgroup" in the container show (cgroup v1).

        Each item is a name, the controllers, and a directory.
        """
        return []

    def below(self, paths: Mapping[str, str]) -> Manager:
        """Return the manager of a cgroup below this one, for a process that will run there.

        Args:
            paths: the paths relative to this cgroup, by controller (v1). The key "" stands for all
                controllers.

        Raises:
            ContainerError: a path is not below this cgroup, or a controller is unknown.
            Failure: there is no such cgroup.
        """
        raise NotImplementedError

    def for_further(self, init: int) -> Manager:
        """Return the manager of the cgroup in which a further process runs by default.

        This is the manager itself; or, if its cgroup takes no processes any more, that of the
        cgroup of the process `init`.
        """
        return self

    def _processes_path(self) -> str:
        """Return the directory that has all processes of the cgroup."""
        raise NotImplementedError
