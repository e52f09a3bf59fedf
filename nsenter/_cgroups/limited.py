# SPDX-License-Identifier: Apache-2.0
"""A cgroup of its own for one tree of processes: made, limited, read and removed."""

from __future__ import annotations

import os
import time
from errno import EBUSY, EINVAL, ENOENT, EPERM

from nsenter._cgroups import files
from nsenter._cgroups.layout import layout
from nsenter._cgroups.limits import legacy_files, unified_files
from nsenter._cgroups.v1 import LegacyTree
from nsenter._cgroups.v2 import UnifiedTree
from nsenter._host import procfs
from nsenter._host.cleanup import undo
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from nsenter._cgroups.base import Tree
    from nsenter._cgroups.layout import Layout
    from nsenter._cgroups.limits import Limits
    from nsenter._cgroups.oom import OomWatch
    from nsenter._cgroups.scope import Scope

__all__ = ["Figures", "LimitedTree"]

_PREFIX = "nsenter-tree-"
_LEFT_SECONDS = 3600.0
# The controllers of v1 that limit or count. The last is the unified hierarchy of the hybrid layout,
# which kills a whole tree at once.
_CONTROLLERS = ("memory", "pids", "cpu", "cpuacct", "")
# Stage 1 enters cgroups of v1 before it makes stage 2, and is in them until the start is complete.
# Until then, one process more is allowed: otherwise a program could be refused its last one.
_OF_START = 1
_MEMSW = "memory.memsw.limit_in_bytes"


class Figures(Value):
    """What the kernel has counted for a cgroup. None means that it does not count this.

    Args:
        cpu_time: seconds of processors.
        user_time, system_time: those in programs and in the kernel.
        peak_memory: the most bytes of memory at a time.
        peak_pids: the most processes and threads at a time.
        read_bytes, written_bytes: bytes that block devices have read and written.
        oom_kills: how many processes the kernel killed because the memory was used up.
        refused_forks: how often a process or thread could not be made because of the limit.
    """

    cpu_time: float | None = None
    user_time: float | None = None
    system_time: float | None = None
    peak_memory: int | None = None
    peak_pids: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    oom_kills: int | None = None
    refused_forks: int | None = None


class LimitedTree:
    """The cgroup of a tree of processes with limits.

    Args:
        limits: the limits.
        extra_pids: how many processes are allowed in addition to `limits.pids`.

    Raises:
        Failure: the cgroup cannot be made, or a limit cannot be set. Nothing of it is left then.
    """

    def __init__(self, limits: Limits, extra_pids: int = 0) -> None:
        self._limits = limits
        self._extra_pids = extra_pids
        self.tree: Tree
        self._scope: Scope | None = None
        here = layout()
        if limits.parent is not None or here.unified:
            self._make_unified(here)
        else:
            self._make_legacy(here)

    def _make_unified(self, here: Layout) -> None:
        try:
            self._make_in(_parent(self._limits, here), here)
        except Failure as failure:
            limits = self._limits
            if limits.parent is not None or not limits.given() or not _may_have_a_scope(failure):
                raise
            self._make_in_scope(here, failure)

    def _make_in_scope(self, here: Layout, first: Failure) -> None:
        """Make the cgroup in a scope of the user's systemd.

        Raises:
            Failure: why it cannot be made, there and without systemd.
        """
        from nsenter._cgroups.scope import scope

        try:
            found = scope(here)
            self._make_in(found.directory, here, is_entered=False)
        except Failure as failure:
            why = f"{first.strerror}; and {failure.operation} {failure.subject}: {failure.strerror}"
            raise Failure(first.operation, first.subject, first.errno or 0, why) from None
        self._scope = found

    def _make_in(self, above: str, here: Layout, *, is_entered: bool = True) -> None:
        limits = self._limits
        _sweep(above)
        tree = UnifiedTree(here, f"{above}/{_new_name()}", limits_memory=limits.memory is not None)
        self.tree = tree
        _check_empty(above, here)
        tree.create()
        try:
            if is_entered and not tree.may_be_entered():
                raise _not_entered(tree.directory)
            tree.write(unified_files(limits, self._extra_pids))
        except BaseException as error:
            undo(error, tree.destroy)
            raise

    def _make_legacy(self, here: Layout) -> None:
        limits = self._limits
        tree = LegacyTree(here, _legacy_paths(here), may_lack=not limits.given())
        self.tree = tree
        tree.create()
        try:
            has_swap = tree.has("memory", _MEMSW)
            extra = self._extra_pids + _OF_START
            tree.write(legacy_files(limits, extra, has_swap=has_swap))
        except BaseException as error:
            undo(error, tree.destroy)
            raise

    @property
    def is_moved_to(self) -> bool:
        """Whether the processes start elsewhere, and must be moved by `attach`."""
        return self._scope is not None

    def attach(self, pids: Iterable[int]) -> None:
        """Have processes that wait moved into the cgroup, if `is_moved_to`.

        Raises:
            Failure: systemd does not move them.
        """
        if self._scope is not None:
            self._scope.attach(self.tree.paths()[""], pids)

    def started(self) -> None:
        """Take back what only the start needed: call this when the program is executed."""
        if isinstance(self.tree, LegacyTree) and self._limits.pids is not None:
            self.tree.write(
                (controller, writes)
                for controller, writes in legacy_files(
                    self._limits, self._extra_pids, has_swap=False
                )
                if controller == "pids"
            )

    def watch_oom(self) -> OomWatch | None:
        """Return an object that tells when the kernel kills for memory; None if it kills all.

        cgroup v1 can only kill a single process.
        """
        if isinstance(self.tree, LegacyTree) and self._limits.memory is not None:
            return self.tree.watch_oom()
        return None

    def kill(self) -> None:
        """Kill every process of the tree, without waiting."""
        self.tree.kill(9)

    def finish(self) -> Figures:
        """Kill what is left of the tree, remove the cgroup, and return what was counted."""
        if self.tree.has_processes():
            self.tree.kill_all()
        figures = self.figures()
        self.tree.destroy()
        return figures

    def figures(self) -> Figures:
        """Return what was counted so far."""
        paths = self.tree.paths()
        if isinstance(self.tree, LegacyTree):
            return _legacy_figures(paths)
        return _unified_figures(paths[""])


_swept: set[str] = set()


def _sweep(above: str) -> None:
    """Remove what callers have left that were killed: empty cgroups of ours that are an hour old.

    The processes of such a caller have ended with it. Each directory is looked at once.
    """
    if above in _swept:
        return
    _swept.add(above)
    latest = time.time() - _LEFT_SECONDS
    with suppress(OSError), os.scandir(above) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX):
                with suppress(OSError):  # it is not empty, not ours, or gone
                    if entry.stat().st_mtime < latest:
                        os.rmdir(entry.path)


def _may_have_a_scope(failure: Failure) -> bool:
    """Return whether a user's systemd may have a place, because this user lacks one."""
    return os.geteuid() != 0 and failure.errno in files.DENIED


def _new_name() -> str:
    return f"{_PREFIX}{os.getpid()}-{os.urandom(6).hex()}"


def _own_paths() -> dict[str, str]:
    """Return the cgroups of this process. They are read each time: it may have been moved."""
    return dict(procfs.cgroups(procfs.read("/proc/self/cgroup")))


def _legacy_paths(here: Layout) -> dict[str, str]:
    """Return directories below the caller's own cgroups, whose limits then hold as well."""
    own, name = _own_paths(), _new_name()
    paths = {}
    for hierarchy in here.all():
        for controller in hierarchy.controllers:
            if controller in _CONTROLLERS:
                above = hierarchy.below_mount(own.get(controller, "/"))
                _sweep(f"{hierarchy.mount_point}{above}")
                paths[controller] = f"{hierarchy.mount_point}{above}/{name}"
    return paths


def _parent(limits: Limits, here: Layout) -> str:
    """Return the directory of the cgroup v2 in which the new one is made.

    A cgroup with processes cannot give controllers to those in it: the place is beside the caller's
    own cgroup.
    """
    assert here.v2 is not None or limits.parent is not None
    if here.v2 is None:
        raise Failure("limit", f"parent={limits.parent!r}", ENOENT, "cgroup v2 is not mounted")
    mount = here.v2.mount_point
    if limits.parent is None:
        own = here.v2.below_mount(_own_paths().get("", "/"))
        return mount + own.rpartition("/")[0]
    parent = os.path.realpath(limits.parent)
    if not f"{parent}/".startswith(f"{os.path.realpath(mount)}/"):
        why = f"the directory is not in {mount}, where cgroup v2 is mounted"
        raise Failure("limit", f"parent={os.fspath(limits.parent)!r}", EINVAL, why)
    if not os.path.isdir(parent):
        raise Failure("limit", f"parent={os.fspath(limits.parent)!r}", ENOENT)
    return parent


def _check_empty(above: str, here: Layout) -> None:
    """Raise Failure if a cgroup has processes, and therefore cannot give controllers on."""
    is_root = (
        here.v2 is not None
        and above == here.v2.mount_point
        and not os.path.exists(f"{above}/cgroup.type")
    )
    if not is_root and files.read(f"{above}/{files.PROCS}").strip():
        why = (
            "there are processes in this cgroup, so that it cannot give controllers to cgroups in "
            "it; name an empty one as parent="
        )
        raise Failure("limit", above, EBUSY, why)


def _not_entered(path: str) -> Failure:
    why = "this user may not move processes there from the cgroup that it is in"
    return Failure("enter", path, EPERM, why)


# ---- what was counted


def _number(path: str) -> int | None:
    text = files.read(path).strip()
    return int(text) if text.isdecimal() else None


def _seconds(count: int | None, unit: int) -> float | None:
    return None if count is None else count / unit


def _legacy_figures(paths: dict[str, str]) -> Figures:
    memory, pids, cpu = (paths.get(name, "") for name in ("memory", "pids", "cpuacct"))
    return Figures(
        cpu_time=_seconds(_number(f"{cpu}/cpuacct.usage"), 10**9),
        user_time=_seconds(_number(f"{cpu}/cpuacct.usage_user"), 10**9),
        system_time=_seconds(_number(f"{cpu}/cpuacct.usage_sys"), 10**9),
        peak_memory=_number(f"{memory}/memory.max_usage_in_bytes"),
        peak_pids=_number(f"{pids}/pids.peak"),
        oom_kills=files.table(f"{memory}/memory.oom_control").get("oom_kill"),
        refused_forks=files.table(f"{pids}/pids.events").get("max"),
    )


def _unified_figures(path: str) -> Figures:
    cpu = files.table(f"{path}/cpu.stat")
    return Figures(
        cpu_time=_seconds(cpu.get("usage_usec"), 10**6),
        user_time=_seconds(cpu.get("user_usec"), 10**6),
        system_time=_seconds(cpu.get("system_usec"), 10**6),
        peak_memory=_number(f"{path}/memory.peak"),
        peak_pids=_number(f"{path}/pids.peak"),
        **_block_io(f"{path}/io.stat"),
        oom_kills=files.table(f"{path}/memory.events").get("oom_kill"),
        refused_forks=files.table(f"{path}/pids.events").get("max"),
    )


def _block_io(path: str) -> dict[str, Any]:
    """Return the sums over all devices; nothing if the kernel does not count them here."""
    if not os.path.exists(path):
        return {}
    sums = {"rbytes": 0, "wbytes": 0}
    for word in files.read(path).split():
        name, _, value = word.partition("=")
        if name in sums and value.isdecimal():
            sums[name] += int(value)
    return {"read_bytes": sums["rbytes"], "written_bytes": sums["wbytes"]}
