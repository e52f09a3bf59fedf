# SPDX-License-Identifier: Apache-2.0
"""What every manager of a cgroup can do."""

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
        """Make it; nobody is in it yet. Where that fails, nothing of it is left.

        Raises:
            Failure: names the directory.
        """
        raise NotImplementedError

    def create_entry(self) -> None:
        """Make what a process is cloned into; `create_rest` can be done meanwhile."""
        self.create()

    def create_rest(self) -> None:
        """Behind `create_entry`: make what else there is of it."""

    def fd(self) -> int | None:
        """A descriptor of it to clone into (CLONE_INTO_CGROUP); None where that cannot be. The
        caller closes it."""
        return None

    def has_doors(self) -> bool:
        """Whether a process gets in, or into the rest of it, by `doors`. Where it has neither
        these nor `fd`, it has to be moved, which costs a grace period of RCU (6 to 20 ms)."""
        return False

    def doors(self) -> list[int]:
        """Files that a process writes "0" to, before it has a second thread, to get in. The
        caller closes them."""
        return []

    def may_be_entered(self) -> bool:
        """Whether the rights of this process do for `fd`, `doors` and `add`."""
        return True

    def add(self, pid: int) -> None:
        """Move a process into it."""
        raise NotImplementedError

    def set(self, resources: Resources) -> None:
        """Set what is said of its limits; the rest stays as it is.

        Raises:
            Failure: names the file and the value.
            ConfigError: this machine's cgroups have no such limit.
        """
        raise NotImplementedError

    def check(self, resources: Resources) -> None:
        """Check what has to be checked before its limits are set.

        Raises:
            Failure: more memory is in use than the limits allow, and that was to be checked.
        """

    def freeze(self) -> None:
        """Stop all its processes. Raises Failure where that does not come about in time."""
        raise NotImplementedError

    def thaw(self) -> None:
        """Let them go on."""
        raise NotImplementedError

    def freezer_state(self) -> str:
        """RUNNING, FROZEN, or UNDEFINED where it has none."""
        raise NotImplementedError

    def frozen_place(self) -> str:
        """Return the directory of a frozen cgroup: its own, or the nearest above it that exists if
        its own is not made yet. Return "" if it is not frozen."""
        return ""

    def pids(self, recursive: bool = True) -> list[int]:
        """Who is in it, and with `recursive` in those below it."""
        path = self._processes_path()
        return sorted(set(files.pids(path, recursive))) if path else []

    def has_processes(self) -> bool:
        """Whether anybody is in it or below it, who may have no pid here."""
        path = self._processes_path()
        return bool(path) and files.has_processes(path)

    def everyone(self) -> list[int]:
        """Who is in any directory of it: one that is just being started may not be in all yet."""
        return self.pids()

    def stats(self) -> dict[str, Any]:
        """What it uses, as "data" of `runc events --stats`."""
        raise NotImplementedError

    def watch_oom(self) -> OomWatch:
        """Who tells that the kernel killed for memory in it; has a fileno() to wait for."""
        raise NotImplementedError

    def oom_events(self) -> Iterator[None]:
        """One item each time that the kernel has killed for memory in it, until it is gone."""
        with self.watch_oom() as watch:
            while not watch.gone:
                if watch.wait():
                    yield

    def has_oom_kills(self) -> bool:
        """Whether the kernel has killed for memory in it."""
        path = self.paths().get("memory") or self.paths().get("", "")
        counts = (files.table(f"{path}/{name}") for name in ("memory.events", "memory.oom_control"))
        return any(count.get("oom_kill") for count in counts)

    def kill(self, number: int) -> None:
        """Send a signal to every process in it and below. They are frozen meanwhile, so that none
        gets away by forking.

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
        """Kill every process in it and below, and wait until they are gone.

        Args:
            also: whether there is another process to wait for, which is not in it maybe.

        Raises:
            Failure: some do not die.
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
        """Remove it and all below it; what is not there is no error.

        Raises:
            Failure: there are processes in it that do not end.
        """
        raise NotImplementedError

    def exists(self) -> bool:
        """Whether it has been made."""
        path = self._processes_path()
        return bool(path) and os.path.isdir(path)

    def paths(self) -> dict[str, str]:
        """Its directories, by controller; with "" for its key that of cgroup v2."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        """For mounts of the type "cgroup" in the container (v1): name, controllers, directory."""
        return []

    def below(self, paths: Mapping[str, str]) -> Manager:
        """One of a cgroup below it, for a process that is to run in that.

        Args:
            paths: from here, by controller (v1); with "" for its key that of all.

        Raises:
            ContainerError: it is none below, or a controller is not known.
            Failure: there is none.
        """
        raise NotImplementedError

    def for_further(self, init: int) -> Manager:
        """One of the cgroup that a further process goes to, where that is not said: it, or, where
        it takes no processes any more, that of the process `init`."""
        return self

    def _processes_path(self) -> str:
        """The directory that has all its processes."""
        raise NotImplementedError
