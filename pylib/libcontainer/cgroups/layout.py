# SPDX-License-Identifier: Apache-2.0
"""How this machine's cgroups are laid out, and where this process is in them (cgroups(7))."""

from __future__ import annotations

import errno

from nsenter.system import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT = "/sys/fs/cgroup"
_KNOWN = frozenset(
    "cpu cpuacct cpuset memory devices freezer blkio pids hugetlb net_cls net_prio perf_event "
    "rdma misc".split()
)


class Hierarchy:
    """One hierarchy of cgroup v1.

    Attributes:
        mount_point: where it is mounted.
        controllers: its controllers; "name=systemd" for one without any.
        name: of its mount point.
    """

    def __init__(self, mount_point: str, controllers: tuple[str, ...]) -> None:
        self.mount_point = mount_point
        self.controllers = controllers
        self.name = mount_point.rpartition("/")[2]


class Layout:
    """What is mounted.

    Attributes:
        unified: where cgroup v2 is, if it is all that there is; "" otherwise.
        hierarchies: of v1.
        own: the cgroup of this process by controller; "" for v2.
    """

    def __init__(self, mountinfo: str, own: str) -> None:
        self.unified = ""
        self.hierarchies: list[Hierarchy] = []
        v2 = ""
        seen: set[tuple[str, ...]] = set()
        for line in mountinfo.splitlines():
            left, _, right = line.partition(" - ")
            fstype, _, rest = right.partition(" ")
            if fstype == "cgroup2":
                v2 = v2 or left.split(" ")[4]
            elif fstype == "cgroup":
                controllers = _controllers(rest.rpartition(" ")[2])
                if controllers and controllers not in seen:
                    seen.add(controllers)
                    self.hierarchies.append(Hierarchy(left.split(" ")[4], controllers))
        if not self.hierarchies:
            self.unified = v2
        if not v2 and not self.hierarchies:
            raise Failure(
                "find the cgroups", _ROOT, errno.ENOENT,
                "no cgroup file system is mounted; try: mount -t cgroup2 none /sys/fs/cgroup",
            )  # fmt: skip
        self.own = _own(own)


def _controllers(options: str) -> tuple[str, ...]:
    words = options.split(",")
    return tuple(w for w in words if w in _KNOWN or w.startswith("name="))


def _own(text: str) -> Mapping[str, str]:
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


_here: Layout | None = None


def layout() -> Layout:
    """This machine's; read once.

    Raises:
        OSError: there are no cgroups.
    """
    global _here
    if _here is None:
        _here = Layout(_read("/proc/self/mountinfo"), _read("/proc/self/cgroup"))
    return _here
