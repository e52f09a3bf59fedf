# SPDX-License-Identifier: Apache-2.0
"""The interface of all drivers: the cgroup of a tree of processes."""

from __future__ import annotations

import os
import time
from errno import EBUSY, ENODEV, ENOENT, EPERM

from nsenter._cgroups import files
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nsenter._cgroups.oom import OomWatch

_SIGKILL = 9
_NAP = 0.01
_KILL_SECONDS = 10.0

RUNNING, FROZEN, UNDEFINED = "running", "frozen", "undefined"


class Tree:
    """The cgroup of a tree of processes, in one hierarchy or in several."""

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

    def has_tasks_fds(self) -> bool:
        """Return whether a process enters the cgroup, or the rest of it, through `tasks_fds`.

        If there are neither `tasks_fds` nor `fd`, the process must be moved, which takes a grace
        period of RCU (6 to 20 ms).
        """
        return False

    def tasks_fds(self) -> list[int]:
        """Return descriptors of files to which a process writes "0" to enter the cgroup.

        It must do so before it has a second thread. The caller must close them.
        """
        return []

    def may_be_entered(self) -> bool:
        """Return whether this process has the rights that `fd`, `tasks_fds` and `add` require."""
        return True

    def add(self, pid: int) -> None:
        """Move a process into the cgroup."""
        raise NotImplementedError

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

    def _processes_path(self) -> str:
        """Return the directory that has all processes of the cgroup."""
        raise NotImplementedError
