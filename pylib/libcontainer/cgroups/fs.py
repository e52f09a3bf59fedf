# SPDX-License-Identifier: Apache-2.0
"""Cgroup v1 and the hybrid layout: one hierarchy for each controller, a directory in each.

A container is in the same cgroup of every hierarchy, those without controllers and v2's too, as
runc has it. Where that is, runc's rules: an absolute path is below the root of each hierarchy,
another one below the caller's own cgroup.
"""

from __future__ import annotations

from libcontainer.cgroups.base import Manager, check_entry, inner
from libcontainer.errors import ConfigError, ContainerError
from nsenter._cgroups import files
from nsenter._cgroups.v1 import LegacyTree
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs import Cgroup, Resources
    from nsenter._cgroups.layout import Layout


class LegacyManager(LegacyTree, Manager):
    """A cgroup in every hierarchy of v1.

    Args:
        cgroup: of the container.
        machine: how its cgroups are laid out.
        paths: where it was made; None: to be found out.
    """

    def __init__(self, cgroup: Cgroup, machine: Layout, paths: Mapping[str, str] | None) -> None:
        self._cgroup = cgroup
        may_lack = cgroup.rootless and not cgroup.path
        super().__init__(machine, paths or {}, may_lack=may_lack)
        if paths is None:
            self._paths = self._find()

    def _find(self) -> dict[str, str]:
        path = self._cgroup.path or self._cgroup.name
        name = files.clean(path)
        below_own = not path.startswith("/")
        return {
            controller: root + (self._layout.own(controller) if below_own else "") + name
            for controller, root in self._roots.items()
        }

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        found = []
        for hierarchy in self._layout.hierarchies:
            first = hierarchy.controllers[0]
            # Where the caller may make none, the container is in his.
            own = hierarchy.mount_point + self._layout.own(first)
            found.append((hierarchy.name, hierarchy.controllers, self._paths.get(first, own)))
        return found

    def below(self, paths: Mapping[str, str]) -> Manager:
        found = dict(self._paths)
        for controller, path in paths.items():
            if controller and controller not in found:
                raise ContainerError(f"unknown controller {controller}")
            for one in (controller,) if controller else self._paths:
                found[one] = self._paths[one] + inner(path)
        for directory in found.values():
            check_entry(directory)
        return LegacyManager(self._cgroup, self._layout, found)

    def _is_made_at_once(self) -> bool:
        return self._cgroup.rootless

    def set(self, resources: Resources) -> None:
        if resources.unified:
            raise ConfigError("linux.resources.unified", "this machine has cgroup v1; leave it out")
        from libcontainer.cgroups.fs_limits import limits

        with files.Changes() as changes:
            for controller, writes in limits(resources, self._read):
                changes.write_all(self._directory(controller, writes[0]), writes)
            if not resources.skip_devices:
                self._set_devices(resources)

    def check(self, resources: Resources) -> None:
        from libcontainer.cgroups.fs_limits import check_memory

        check_memory(resources, self._read)

    def _set_devices(self, resources: Resources) -> None:
        if "devices" not in self._paths:
            if not self._cgroup.rootless:
                self._directory("devices", ("devices.deny", "a"))
            return
        from libcontainer.cgroups.devices import apply

        try:
            apply(self._paths["devices"], resources.devices)
        except Failure as failure:
            if not (self._cgroup.rootless and failure.errno in files.DENIED):
                raise

    def stats(self) -> dict[str, Any]:
        from libcontainer.cgroups.fs_stats import stats

        return stats(self._paths)
