# SPDX-License-Identifier: Apache-2.0
"""What the parent tells the init, as objects with attributes.

The parent's Values travel as plain data with every field; here they are read with the same
names, without the classes that made them.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import Config, ProcessConfig

    class LateJoin:
        """An existing PID namespace, of which the init becomes a part when its root is made.

        Args:
            pid_namespace: its descriptor.
            held: the capabilities, by name, that are not given up before.
        """

        pid_namespace: int
        held: tuple[str, ...]

    class Orders:
        """The orders of one init.

        Args:
            type: "standard", the first process of a container, or "setns".
            id: the container's.
            config: of the container; the namespaces in it are `new_namespaces`.
            process: to become.
            env: of the process, with HOME where it can be told.
            new_namespaces: "NEWNET" … as far as they are new.
            joined_namespaces: those with a path.
            is_moved: the parent moves it into its cgroups.
            has_doors: it gets into its cgroups by doors, which come when they are made.
            unshare_cgroup: the cgroup namespace is made by the init, when it is in its cgroup.
            mount_fds: descriptors of detached mounts, by the index of their mount.
            cgroup_paths: of the container, by controller.
            cgroup_mounts: of cgroup v1: the name of each mount point, its controllers, and the
                container's directory in it; nothing on cgroup v2.
            seccomp: the filter and its flags, or None.
            has_listener: whether the filter's listener goes to the parent.
            fifo_fd: the exec fifo, open both ways; -1: there is none to wait for.
            late_join: see `LateJoin`; None: there is no PID namespace that it is to join last.
            console_fd: a socket that gets the terminal; -1: none.
            preserve_fds: how many descriptors from 3 on the process keeps.
            hook_state: OCI's state for the hooks, by its status: JSON, without the pid.
        """

        type: str
        id: str
        config: Config
        process: ProcessConfig
        new_namespaces: tuple[str, ...]
        joined_namespaces: tuple[str, ...]
        is_moved: bool
        has_doors: bool
        unshare_cgroup: bool
        in_userns: bool
        mount_fds: dict[int, int]
        cgroup_paths: dict[str, str]
        cgroup_mounts: tuple[tuple[str, tuple[str, ...], str], ...]
        seccomp: tuple[bytes, int] | None
        has_listener: bool
        fifo_fd: int
        late_join: LateJoin | None
        console_fd: int
        preserve_fds: int
        hook_state: dict[str, Any]


_Plain: Any = type(sys.implementation)  # types.SimpleNamespace, without importing types

# Mappings with keys of the user's, which stay what they are.
_MAPPINGS = {
    *("sysctl", "unified", "systemd_props", "mount_fds", "cgroup_paths", "exec_cpu_affinity"),
    *("hook_state", "net_devices"),
}


def thaw(plain: dict[str, Any]) -> Any:
    """Attributes for the keys of a dict, and of the dicts in it."""
    return _Plain(**{name: _thaw(name, value) for name, value in plain.items()})


def _thaw(name: str, value: Any) -> Any:
    if type(value) is dict and name not in _MAPPINGS:
        return thaw(value)
    if type(value) is list:
        return tuple(_thaw("", item) for item in value)
    return value
