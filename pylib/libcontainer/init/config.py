# SPDX-License-Identifier: Apache-2.0
"""The init config: what the parent tells its init.

The parent makes an `InitConfig` and sends it with `pack`. The init gets it with `unpack`: an
`InitConfig` again, so that type checkers check both ends against one list of fields. What is nested
in it is read-only attributes of the same names there, because the classes of libcontainer.configs
are not imported in the init.
"""

from __future__ import annotations

import sys

from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from libcontainer.configs import ConfigForInit, ProcessConfig

__all__ = ["InitConfig", "LateJoin", "pack", "unpack"]


class LateJoin(Value):
    """An existing PID namespace that the init joins after it has made the root.

    Args:
        pid_namespace: a descriptor of the namespace.
        held: the names of the capabilities that the init still has when it joins.
    """

    pid_namespace: int
    held: tuple[str, ...]


class InitConfig(Value):
    """What an init is told. The fields after `hook_state` are known only when it is started.

    Args:
        type: "standard" for the first process of a container, "setns" for a further one.
        id: the name of the container.
        config: the configuration of the container.
        process: the configuration of the process that the init becomes.
        preserve_fds: how many descriptors, from 3 on, the process keeps.
        new_namespaces, joined_namespaces: the types of namespaces, "NEWNET" and so on, that are
            new, and that existed before.
        in_userns: whether the container has a user namespace, either new or joined.
        seccomp: the compiled filter and its flags. None means no filter.
        has_listener: whether the filter has a listener, which goes to a seccomp agent.
        hook_state: the OCI state for hooks, as JSON without the pid, by the status in it.
        is_moved: the parent moves the init into its cgroup.
        has_tasks_fds: the init moves itself into its cgroup, with descriptors that the parent sends
            when the cgroup has been made.
        unshare_cgroup: the init makes its cgroup namespace itself, once it is in its cgroup.
        mount_fds: descriptors of detached mounts, by the index of their mount in `config`. The
            parent sends them apart.
        cgroup_paths: the paths of the container's cgroup, by controller.
        cgroup_mounts: for each hierarchy of cgroup v1: the name of its mount point, its
            controllers, and the directory of the container in it. Empty with cgroup v2.
        fifo_fd: the exec fifo, open for reading and writing; -1 means that the init executes its
            program at once.
        late_join: see `LateJoin`. None means that there is no such namespace.
        console_fd: a socket to which the terminal is sent; -1 means none.
    """

    type: Literal["standard", "setns"]
    id: str
    config: ConfigForInit
    process: ProcessConfig
    preserve_fds: int
    new_namespaces: tuple[str, ...]
    joined_namespaces: tuple[str, ...]
    in_userns: bool
    seccomp: tuple[bytes, int] | None
    has_listener: bool
    hook_state: Mapping[str, bytes]
    is_moved: bool = False
    has_tasks_fds: bool = False
    unshare_cgroup: bool = False
    mount_fds: Mapping[int, int] = {}
    cgroup_paths: Mapping[str, str] = {}
    cgroup_mounts: tuple[tuple[str, tuple[str, ...], str], ...] = ()
    fifo_fd: int = -1
    late_join: LateJoin | None = None
    console_fd: int = -1


def pack(init_config: InitConfig) -> dict[str, Any]:
    """Return an init config as plain data.

    Of the container's configuration, it has only the part that the init reads.
    """
    plain = init_config.to_data(full=True, besides=("config",))
    return {**plain, "config": init_config.config.for_init()}


def unpack(plain: dict[str, Any], mount_fds: Mapping[int, int]) -> InitConfig:
    """Return the init config for the result of `pack`.

    Args:
        plain: what `pack` returned.
        mount_fds: the descriptors of detached mounts that the init has received.

    Raises:
        TypeError: a field is missing or unknown: the parent is of another version.
    """
    fields = {name: _attributes(name, value) for name, value in plain.items()}
    return InitConfig(**{**fields, "mount_fds": mount_fds})


_Namespace: Any = type(sys.implementation)  # types.SimpleNamespace, without importing types

# Fields that are mappings with keys of the user's choice, not objects with attributes.
_MAPPINGS = {
    *("sysctl", "net_devices", "exec_cpu_affinity", "hook_state", "mount_fds", "cgroup_paths"),
}


def thaw(plain: dict[str, Any]) -> Any:
    """Return an object with the keys of a dict as attributes, and the same for dicts in it."""
    return _Namespace(**{name: _attributes(name, value) for name, value in plain.items()})


def _attributes(name: str, value: Any) -> Any:
    if type(value) is dict and name not in _MAPPINGS:
        return thaw(value)
    if type(value) is list:
        return tuple(_attributes("", item) for item in value)
    return value
