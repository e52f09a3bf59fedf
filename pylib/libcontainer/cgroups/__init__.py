# SPDX-License-Identifier: Apache-2.0
"""Cgroups of containers: where they are, what they limit, who is in them.

`new_manager` gives the one for this machine: cgroup v2 (fs2), v1 and the hybrid layout (fs), or
either with systemd making the cgroup (systemd); or one that makes none (none).
"""

from __future__ import annotations

from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from libcontainer.cgroups.layout import Hierarchy, Layout, layout

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from libcontainer.configs import Cgroup

__all__ = [
    "FROZEN",
    "RUNNING",
    "UNDEFINED",
    "Hierarchy",
    "Layout",
    "Manager",
    "layout",
    "new_manager",
]


def new_manager(cgroup: Cgroup, paths: Mapping[str, str] | None = None) -> Manager:
    """Who manages a container's cgroup on this machine.

    Args:
        cgroup: where it is and what it limits.
        paths: where it was made, as `Manager.paths` told; None: to be found out.

    Raises:
        Failure: no cgroup file system is mounted; the user's systemd does not answer.
        ConfigError: the path is not one that systemd takes, which was to be asked.
    """
    here = layout()
    if cgroup.disabled:
        from libcontainer.cgroups.none import NoManager

        nowhere = {"": ""} if here.unified else {}
        return NoManager(new_manager(cgroup.replace(disabled=False, systemd=False), nowhere))
    place = cgroup
    if cgroup.systemd and not paths:
        from libcontainer.cgroups.systemd import cgroup_path

        place = cgroup.replace(path=cgroup_path(cgroup))
    manager: Manager
    if here.unified:
        from libcontainer.cgroups.fs2 import UnifiedManager

        manager = UnifiedManager(place, here, paths)
    else:
        from libcontainer.cgroups.fs import LegacyManager

        manager = LegacyManager(place, here, paths)
    if cgroup.systemd:
        from libcontainer.cgroups.systemd import SystemdManager

        return SystemdManager(cgroup, manager, unified=bool(here.unified))
    return manager
