# SPDX-License-Identifier: Apache-2.0
"""A cgroup that systemd delegates to an ordinary user (org.freedesktop.systemd1(5)).

A user's session is in a cgroup that belongs to root. The user's systemd makes a transient scope, in
which the user may make cgroups, and moves processes there. A process that only waits keeps the
scope alive, once for this process, and ends with it.
"""

from __future__ import annotations

import os
import subprocess
import time
from _thread import allocate_lock
from errno import ETIMEDOUT

from nsenter._cgroups import files
from nsenter._cgroups.systemd_bus import Bus
from nsenter._host import procfs
from nsenter._host.cleanup import undo
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from nsenter._cgroups.layout import Layout

__all__ = ["Scope", "scope"]

_PATIENCE = 10.0
_NAP = 0.005
_KEEPER = "keeper"


class Scope:
    """A transient scope of the caller's systemd.

    Args:
        here: how the cgroups of this machine are laid out.

    Raises:
        Failure: systemd does not answer, or makes no scope.
    """

    def __init__(self, here: Layout) -> None:
        self._here = here
        self._bus = Bus(user=True)
        self._unit = f"nsenter-{os.getpid()}-{os.urandom(6).hex()}.scope"
        self._bus.check(self._unit)
        # It reads until this process closes the pipe, or ends.
        self._keeper = subprocess.Popen(
            ["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )
        try:
            self._start()
        except BaseException as error:
            undo(error, self._end_keeper)
            raise

    def _start(self) -> None:
        properties = (
            *("Description", "s", "Limited processes of nsenter"),
            *("Delegate", "b", "true"),
            *("CollectMode", "s", "inactive-or-failed"),
            *("PIDs", "au", "1", str(self._keeper.pid)),
        )
        self._bus.call(
            "StartTransientUnit", "ssa(sv)a(sa(sv))", self._unit, "fail", "4", *properties, "0"
        )
        self.directory = self._awaited(self._keeper.pid, self._unit)
        keeper = f"{self.directory}/{_KEEPER}"
        # A cgroup with processes cannot give controllers to those in it.
        os.mkdir(keeper)
        files.enter(keeper, self._keeper.pid)

    def attach(self, directory: str, pids: Iterable[int]) -> None:
        """Have processes of this user moved into a cgroup in the scope."""
        numbers = [str(pid) for pid in pids]
        below = directory.removeprefix(self.directory)
        words = (self._unit, below, str(len(numbers)), *numbers)
        self._bus.call("AttachProcessesToUnit", "ssau", *words)
        for pid in numbers:
            self._awaited(int(pid), directory.rpartition("/")[2])

    def _awaited(self, pid: int, name: str) -> str:
        """Wait until a process is in a cgroup of this name, and return its directory."""
        assert self._here.v2 is not None
        deadline = time.monotonic() + _PATIENCE
        while True:
            own = dict(procfs.cgroups(procfs.read(f"/proc/{pid}/cgroup"))).get("", "")
            if own.rpartition("/")[2] == name:
                return self._here.v2.mount_point + self._here.v2.below_mount(own)
            if time.monotonic() > deadline:
                why = f"systemd has not moved the process: it is in {own}"
                raise Failure("enter", name, ETIMEDOUT, why)
            time.sleep(_NAP)

    def is_alive(self) -> bool:
        """Return whether the scope can be used: nobody has stopped it."""
        return self._keeper.poll() is None

    def _end_keeper(self) -> None:
        self._keeper.kill()
        self._keeper.communicate()


_scope: Scope | None = None
_owner = 0
_lock = allocate_lock()


def scope(here: Layout) -> Scope:
    """Return the scope of this process, which is made when it is first asked for.

    Raises:
        Failure: systemd does not answer, or makes no scope.
    """
    global _scope, _owner
    with _lock:
        if _scope is None or _owner != os.getpid() or not _scope.is_alive():
            _scope, _owner = Scope(here), os.getpid()
        return _scope
