# SPDX-License-Identifier: Apache-2.0
"""The interface of all managers of containers' cgroups."""

from __future__ import annotations

import os
from errno import ENOENT

from libcontainer.errors import ContainerError
from nsenter._cgroups import files
from nsenter._cgroups.base import FROZEN, RUNNING, UNDEFINED, Tree
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from libcontainer.configs import Resources

__all__ = ["FROZEN", "RUNNING", "UNDEFINED", "Manager", "check_entry", "inner", "no_entry"]


class Manager(Tree):
    """The cgroup of a container."""

    def set(self, resources: Resources) -> None:
        """Set the limits that are given. Others are left unchanged.

        Raises:
            Failure: a limit could not be set. The error names the file and the value.
            ConfigError: this machine's cgroups have no such limit.
        """
        raise NotImplementedError

    def check(self, resources: Resources) -> None:
        """Check what must be checked before the limits are set.

        Raises:
            Failure: more memory is in use than the limits allow, and the configuration asks to
                check this.
        """

    def stats(self) -> dict[str, Any]:
        """Return the resources that the cgroup uses, as in "data" of `runc events --stats`."""
        raise NotImplementedError

    def mounts(self) -> list[tuple[str, tuple[str, ...], str]]:
        """Return what mounts of type "cgroup" in the container show (cgroup v1).

        Each item is a name, the controllers, and a directory.
        """
        return []

    def below(self, paths: Mapping[str, str]) -> Manager:
        """Return the manager of a cgroup below this one, for a process that will run there.

        Args:
            paths: the paths relative to this cgroup, by controller (v1). The key "" stands for all
                controllers.

        Raises:
            ContainerError: a path is not below this cgroup, or a controller is unknown.
            Failure: there is no such cgroup.
        """
        raise NotImplementedError

    def for_further(self, init: int) -> Manager:
        """Return the manager of the cgroup in which a further process runs by default.

        This is the manager itself; or, if its cgroup takes no processes any more, that of the
        cgroup of the process `init`.
        """
        return self


def inner(path: str) -> str:
    """As `clean`, of a path that somebody gives for a place in a cgroup.

    Raises:
        ContainerError: it leads out of it.
    """
    if os.path.normpath(f"./{path}").partition("/")[0] == "..":
        raise ContainerError(f"cgroup {path} is not a sub cgroup path")
    return files.clean(path)


def check_entry(directory: str) -> None:
    """Raises Failure where a cgroup is not there to be entered."""
    if not os.path.isdir(directory):
        raise no_entry(directory, ENOENT, "no such file or directory; make the cgroup first")


def no_entry(directory: str, number: int, why: str) -> Failure:
    """What there is to say of a cgroup that cannot be entered."""
    return Failure("adding pid of a process to cgroups", f"{directory}/{files.PROCS}", number, why)
