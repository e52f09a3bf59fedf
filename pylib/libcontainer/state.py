# SPDX-License-Identifier: Apache-2.0
"""state.json: what one command records about a container for the next, in runc's format."""

from __future__ import annotations

from collections.abc import Mapping

from libcontainer.configs import Config
from nsenter._host import json_text
from nsenter._host.records import Value
from nsenter._host.suppress import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["State", "fragments_of"]


class State(Value):
    """What is known about a container.

    Args:
        id: the name of the container.
        config: its configuration.
        init_process_pid: the pid of its first process; 0 if there has been none.
        init_process_start: when that process started, in clock ticks since boot. Together with the
            pid, it identifies the process.
        created: when the container was created, in the format of RFC 3339.
        namespace_paths: the paths of its namespaces, by type: "NEWIPC" and so on.
        cgroup_paths: the paths of its cgroup, by controller; "" stands for cgroup v2.
        external_descriptors: what the standard streams of the init were.
        rootless: whether a user other than root created the container.
        bundle: the directory of its config.json.
        is_creating: whether its first process is not completely set up yet.

    Raises:
        ValueError: a pid, a start time or a cgroup path is not possible.
    """

    nested = {"config": Config}

    id: str
    config: Config
    init_process_pid: int = 0
    init_process_start: int = 0
    created: str = ""
    namespace_paths: Mapping[str, str] = {}
    cgroup_paths: Mapping[str, str] = {}
    external_descriptors: tuple[str, ...] = ()
    rootless: bool = False
    bundle: str = ""
    is_creating: bool = False

    def __post_init__(self) -> None:
        for name in ("init_process_pid", "init_process_start"):
            if not 0 <= self.__dict__[name] < _HIGHEST[name]:
                raise ValueError(f"{name} must not be {self.__dict__[name]}")
        for controller, path in self.cgroup_paths.items():
            # An empty path means that the user could not make a cgroup.
            if path and not path.startswith("/"):
                raise ValueError(f"cgroup_paths[{controller!r}] must be absolute, not {path!r}")


# Both are less than these numbers, because of the kernel's types.
_HIGHEST = {"init_process_pid": 1 << 31, "init_process_start": 1 << 64}


def fragments_of(text: str) -> dict[str, Any]:
    """Return what can be read from a broken state.json, for example one that is cut off.

    The result has values for fields of `State`, which are not checked.
    """
    found: dict[str, Any] = {}
    for name in ("init_process_pid", "init_process_start", "cgroup_paths"):
        at = text.find(f'"{name}":')
        if at >= 0:
            with suppress(ValueError):
                found[name] = json_text.loads_at(text, at + len(name) + 3)
    return found
