# SPDX-License-Identifier: Apache-2.0
"""How this machine's cgroups are laid out, and where this process is in them (cgroups(7))."""

from __future__ import annotations

import errno
import os

from nsenter._host import procfs
from nsenter._host.cleanup import close
from nsenter._host.syscalls import CGROUP2_SUPER_MAGIC, Failure, file_system_type

_ROOT = "/sys/fs/cgroup"
_TYPES = ("cgroup", "cgroup2")
_OWN = "/proc/self/cgroup"
_KNOWN = frozenset(
    "cpu cpuacct cpuset memory devices freezer blkio pids hugetlb net_cls net_prio perf_event "
    "rdma misc".split()
)


class Hierarchy:
    """One hierarchy, as it is mounted.

    Attributes:
        mount_point: where.
        root: the cgroup that is at the mount point; "/" unless a part of it is mounted.
        controllers: its controllers, "name=systemd" for one of v1 without any; "" is v2.
        name: of its mount point.
    """

    def __init__(self, mount_point: str, controllers: tuple[str, ...], root: str = "/") -> None:
        self.mount_point = mount_point
        self.controllers = controllers
        self.root = root
        self.name = mount_point.rpartition("/")[2]

    def below_mount(self, path: str) -> str:
        """Where the cgroup `path` of /proc/PID/cgroup is under the mount point: "" or "/…"."""
        root = self.root.rstrip("/")
        if path == root or path.startswith(f"{root}/"):
            path = path[len(root) :]
        return path.rstrip("/")


class Layout:
    """What is mounted.

    Args:
        mountinfo: the text of /proc/self/mountinfo.
        own: the text of /proc/self/cgroup; None: read when it is asked for.

    Attributes:
        hierarchies: of v1, in the order of their mounts.
        v2: the unified hierarchy, None where it is not mounted.
    """

    def __init__(self, mountinfo: str | bytes, own: str | None = None) -> None:
        self.v2: Hierarchy | None = None
        self.hierarchies: list[Hierarchy] = []
        self._own_text = own
        self._own: dict[str, str] = {}
        found: dict[tuple[str, ...], Hierarchy] = {}
        for mount in procfs.mounts(mountinfo):
            if mount.fstype not in _TYPES or mount.deleted:
                continue
            hierarchy = _hierarchy(mount)
            if hierarchy.controllers and _is_better(hierarchy, found.get(hierarchy.controllers)):
                found[hierarchy.controllers] = hierarchy
        self.v2 = found.pop(("",), None)
        self.hierarchies = list(found.values())

    @property
    def unified(self) -> str:
        """Where cgroup v2 is mounted, if it is all that there is; "" otherwise."""
        return self.v2.mount_point if self.v2 is not None and not self.hierarchies else ""

    def all(self) -> list[Hierarchy]:
        """Every hierarchy; v2's last."""
        return [*self.hierarchies, *([self.v2] if self.v2 else [])]

    def own(self, controller: str) -> str:
        """The cgroup of this process under the mount point: "" or "/…". "" asks for v2's."""
        if not self._own:
            self._own = (
                _paths(_OWN) if self._own_text is None else dict(procfs.cgroups(self._own_text))
            )
        return self._below_mount(self._own, controller)

    def of(self, pid: int, controller: str) -> str:
        """The same of another process."""
        return self._below_mount(_paths(f"/proc/{pid}/cgroup"), controller)

    def _below_mount(self, paths: dict[str, str], controller: str) -> str:
        path = paths.get(controller, "/")
        for hierarchy in self.all():
            if controller in hierarchy.controllers:
                return hierarchy.below_mount(path)
        return path.rstrip("/")


def _hierarchy(mount: procfs.Mount) -> Hierarchy:
    words = mount.super_options
    controllers = tuple(w for w in words if w in _KNOWN or w.startswith("name="))
    return Hierarchy(mount.point, ("",) if mount.fstype == "cgroup2" else controllers, mount.root)


def _is_better(one: Hierarchy, other: Hierarchy | None) -> bool:
    """A hierarchy may be mounted again, for a container say: that of the usual place counts."""
    usual = f"{_ROOT}/"
    return other is None or (
        f"{one.mount_point}/".startswith(usual) and not f"{other.mount_point}/".startswith(usual)
    )


def _paths(file: str) -> dict[str, str]:
    """Controller → path, of a /proc/PID/cgroup; none if there is no such process."""
    try:
        return dict(procfs.cgroups(procfs.read(file)))
    except (FileNotFoundError, ProcessLookupError):
        return {}


def is_unified() -> bool:
    """Whether cgroup v2 is all that there is, in the usual place."""
    try:
        fd = os.open(_ROOT, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return file_system_type(fd) == CGROUP2_SUPER_MAGIC
    finally:
        close(fd)


_here: Layout | None = None


def layout() -> Layout:
    """This machine's; found out once.

    Raises:
        Failure: there are no cgroups.
    """
    global _here
    if _here is None:
        # mountinfo grows with the containers of a machine; the usual case does not need it.
        if is_unified():
            here = Layout(f"0 0 0:0 / {_ROOT} rw - cgroup2 cgroup2 rw")
        else:
            here = Layout(procfs.read("/proc/self/mountinfo"))
        if not here.all():
            raise Failure(
                "find the cgroups", _ROOT, errno.ENOENT,
                "no cgroup file system is mounted; try: mount -t cgroup2 none /sys/fs/cgroup",
            )  # fmt: skip
        _here = here
    return _here
