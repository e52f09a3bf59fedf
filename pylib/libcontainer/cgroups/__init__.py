# SPDX-License-Identifier: Apache-2.0
"""The cgroups of containers: their places, their limits and their processes.

`new_manager` returns the manager for this machine: for cgroup v2 (fs2), for v1 and the hybrid
layout (fs), for either of these with a cgroup that systemd makes (systemd), or for a container
without a cgroup of its own (none).
"""

from __future__ import annotations

from libcontainer.cgroups.base import FROZEN, RUNNING, UNDEFINED, Manager
from nsenter._cgroups.layout import Hierarchy, Layout, layout

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
    """Return the manager of a container's cgroup on this machine.

    Args:
        cgroup: the configuration of the cgroup.
        paths: the directories of a cgroup that exists, from `Manager.paths`. None means that they
            are derived from the configuration.

    Raises:
        Failure: no cgroup file system is mounted, or the user's systemd does not answer.
        ConfigError: systemd is to make the cgroup, and does not accept its path.
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
