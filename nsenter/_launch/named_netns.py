# SPDX-License-Identifier: Apache-2.0
"""The files that belong to a named network namespace, besides its devices.

These are its /sys, and the files of /etc/netns/NAME, which are mounted over those of /etc. This is
what `ip netns exec` does (ip-netns(8)).
"""

from __future__ import annotations

import os

from nsenter._host import procfs
from nsenter.mounts import Bind, Sysfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsenter.mounts import Mount

__all__ = ["files_of", "name_of"]

_FOLDERS = ("/run/netns", "/var/run/netns")
_FILES = "/etc/netns"
_ETC = "/etc"
_SYS = "/sys"


def name_of(path: str) -> str:
    """The name of the network namespace with this path; "" if ip-netns(8) knows it by none."""
    folder, _, name = path.rpartition("/")
    return name if folder in _FOLDERS and name not in (".", "..") else ""


def files_of(name: str, mounts: Iterable[Mount]) -> Iterator[Mount]:
    """The mounts for a process that joins the network namespace, in the caller's tree.

    Args:
        name: that of the namespace.
        mounts: those that were asked for. Where one of these is, nothing is mounted here.
    """
    taken = {os.path.normpath(os.fsdecode(mount._record()[1])) for mount in mounts}
    if _SYS not in taken and os.path.ismount(_SYS):
        yield from _sysfs()
    for entry in _entries(name):
        target = f"{_ETC}/{entry}"
        if target in taken:
            continue
        if os.path.exists(target):
            yield Bind(f"{_FILES}/{name}/{entry}", target, writable=True)
        else:
            _warn(f"{_FILES}/{name}/{entry} is not mounted: there is no {target}")


def _sysfs() -> Iterator[Mount]:
    """Yield a new /sys, which shows the devices of the namespace, with the mounts of the old one.

    File systems that were mounted below the old /sys, such as cgroups, are mounted in the new one
    too.
    """
    is_read_only = os.statvfs(_SYS).f_flag & os.ST_RDONLY
    yield Sysfs(_SYS, writable=not is_read_only)
    above = ""
    for point in sorted({mount.point for mount in procfs.mounts()}, key=_folders):
        is_below = above and point.startswith(f"{above}/")
        if point.startswith(f"{_SYS}/") and not is_below and os.path.ismount(point):
            above = point
            yield Bind(point, writable=True)


def _folders(path: str) -> list[str]:
    return path.split("/")


def _entries(name: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{_FILES}/{name}"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, RuntimeWarning, stacklevel=2)
