# SPDX-License-Identifier: Apache-2.0
"""No cgroup of the container's own (`--cgroup-manager disabled`): it stays in its caller's."""

from __future__ import annotations

from libcontainer.cgroups.base import UNDEFINED, Manager
from libcontainer.errors import ContainerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs import Resources
    from nsenter._cgroups.oom import OomWatch


class NoManager(Manager):
    """Makes no cgroup, and finds none.

    Args:
        others: a manager of this machine's cgroups that has made none either: it knows what a
            container sees of them.
    """

    def __init__(self, others: Manager) -> None:
        self._others = others

    def create(self) -> None:
        """There is nothing to make."""

    def add(self, pid: int) -> None:
        """It stays where it is."""

    def set(self, resources: Resources) -> None:
        """Rules for devices are passed over, as every configuration has some; with crun, too."""
        if resources.limits_anything():
            raise self._none()

    def freeze(self) -> None:
        raise self._none()

    def thaw(self) -> None:
        """What is frozen was not frozen by us."""

    def freezer_state(self) -> str:
        return UNDEFINED

    def stats(self) -> dict[str, Any]:
        raise self._none()

    def watch_oom(self) -> OomWatch:
        raise self._none()

    def destroy(self) -> None:
        """There is nothing to remove."""

    def paths(self) -> dict[str, str]:
        return {}

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        return self._others.mounts()

    def below(self, paths: Mapping[str, str]) -> Manager:
        raise self._none()

    def _processes_path(self) -> str:
        return ""

    def _none(self) -> ContainerError:
        return ContainerError("container has no cgroup: it was made with --cgroup-manager disabled")
