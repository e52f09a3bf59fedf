# SPDX-License-Identifier: Apache-2.0
"""`Config`: all that a container is."""

from __future__ import annotations

from collections.abc import Mapping

from libcontainer.configs.cgroup import Cgroup
from libcontainer.configs.mount import Device, Mount
from libcontainer.configs.seccomp import Seccomp
from nsenter._host.records import Value
from nsenter.bootstrap import TimeOffset
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespaces, NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms


class Capabilities(Value):
    """The five sets of capabilities(7), names such as "CAP_CHOWN".

    `inheritable` is empty unless it is asked for: a program whose file has inheritable
    capabilities gets those (CVE-2022-29162). `ambient` ones must be permitted and inheritable.
    """

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Value):
    """One resource limit: `type` is the number of RLIMIT_* (getrlimit(2))."""

    type: int
    hard: int
    soft: int


class IOPriority(Value):
    """ioprio_set(2): `class_` of 1 real-time, 2 best effort, 3 idle; `priority` 0 … 7."""

    class_: int
    priority: int = 0


class Scheduler(Value):
    """sched_setattr(2); `policy` and `flags` are the numbers of SCHED_* and SCHED_FLAG_*."""

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class MemoryPolicy(Value):
    """set_mempolicy(2): the numbers of MPOL_* and MPOL_F_*, and of the nodes."""

    mode: int
    flags: int = 0
    nodes: tuple[int, ...] = ()


class Hook(Value):
    """A command run at one moment of the container's life; it gets the state on its stdin.

    Args:
        path: absolute.
        args: argv; empty: the path alone.
        env: its environment, "NAME=value"; None: that of the runtime or, of a hook that runs in
            the container's namespaces, of the process.
        timeout: seconds; None: for ever.
    """

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Hooks(Value):
    """The six kinds; each list runs in order.

    prestart, create_runtime: in the runtime's namespaces, after the namespaces are made and
    before the root changes. create_container: in the container's, at the same moment.
    start_container: in the container, before the process is executed. poststart, poststop: in
    the runtime's, after it was started and deleted.
    """

    nested = {
        "prestart": Hook,
        "create_runtime": Hook,
        "create_container": Hook,
        "start_container": Hook,
        "poststart": Hook,
        "poststop": Hook,
    }

    prestart: tuple[Hook, ...] = ()
    create_runtime: tuple[Hook, ...] = ()
    create_container: tuple[Hook, ...] = ()
    start_container: tuple[Hook, ...] = ()
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()


class Config(Value):
    """A container, as runc's libcontainer names it.

    Args:
        rootfs: absolute path of the directory that becomes the root.
        readonlyfs: whether the root is made read-only at the end.
        readonly_submounts: whether what is mounted below the root already is read-only in the
            container, and nothing that is mounted there later comes along.
        no_pivot_root: MS_MOVE and chroot(2) instead of pivot_root(2), for a ramdisk.
        root_propagation: MS_* bits for the propagation of the root mount; 0: slave, recursive.
        mounts: in order.
        devices: nodes to make in /dev.
        namespaces: new and joined ones; a kind that is missing is the caller's.
        uid_mappings, gid_mappings: of a new user namespace.
        time_offsets: of the clocks of a new time namespace.
        hostname, domainname: of a new uts namespace; "": as they are.
        cgroups: the container's cgroup.
        capabilities, rlimits, no_new_privileges, apparmor_profile, process_label: of its first
            process, and of those executed in it later that say nothing else; None: as they come.
        oom_score_adj, umask, io_priority, scheduler: the same.
        mount_label: SELinux context of its mounts.
        mask_paths: paths that show nothing.
        readonly_paths: paths that cannot be written below.
        sysctl: names with dots, and values.
        seccomp: a policy; None: none.
        hooks: commands at moments of its life.
        personality: a number of personality(2); None: as it is.
        memory_policy: of its processes; None: as it is.
        net_devices: the names of network devices that it gets, here and there.
        parent_death_signal: of the first process when the runtime ends; 0: none.
        no_new_keyring: the session keyring of the caller is kept.
        rootless_euid, rootless_cgroups: the caller is not root; cgroups may not be his.
        labels: annotations, "name=value"; "bundle=/path" is one of them.
        version: of the OCI specification that it was made from.
    """

    nested = {
        "mounts": Mount,
        "devices": Device,
        "uid_mappings": IDMap,
        "gid_mappings": IDMap,
        "time_offsets": TimeOffset,
        "cgroups": Cgroup,
        "capabilities": Capabilities,
        "rlimits": Rlimit,
        "seccomp": Seccomp,
        "hooks": Hooks,
        "io_priority": IOPriority,
        "scheduler": Scheduler,
        "memory_policy": MemoryPolicy,
    }

    rootfs: str
    readonlyfs: bool = False
    readonly_submounts: bool = False
    no_pivot_root: bool = False
    root_propagation: int = 0
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    namespaces: Namespaces = Namespaces()
    uid_mappings: tuple[IDMap, ...] = ()
    gid_mappings: tuple[IDMap, ...] = ()
    time_offsets: tuple[TimeOffset, ...] = ()
    hostname: str = ""
    domainname: str = ""
    cgroups: Cgroup = Cgroup()
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    process_label: str = ""
    mount_label: str = ""
    oom_score_adj: int | None = None
    umask: int | None = None
    io_priority: IOPriority | None = None
    scheduler: Scheduler | None = None
    mask_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    sysctl: Mapping[str, str] = {}
    seccomp: Seccomp | None = None
    hooks: Hooks = Hooks()
    personality: int | None = None
    memory_policy: MemoryPolicy | None = None
    net_devices: Mapping[str, str] = {}
    parent_death_signal: int = 0
    no_new_keyring: bool = False
    rootless_euid: bool = False
    rootless_cgroups: bool = False
    labels: tuple[str, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        # What can be changed is the caller's own.
        self.__dict__["namespaces"] = self.namespaces.copy()

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Config:
        fields = dict(plain)
        if "namespaces" in fields:
            fields["namespaces"] = Namespaces.from_json(fields["namespaces"])
        return super().from_plain(fields)

    @classmethod
    def _read_field(cls, name: str, value: Any, where: str) -> Any:
        if name != "namespaces":
            return super()._read_field(name, value, where)
        if isinstance(value, list):  # a newer version may have kinds that are not known here
            value = [item for item in value if not _is_unknown_kind(item)]
        return Namespaces.from_json(value, where=where)


def _is_unknown_kind(item: Any) -> bool:
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(kind, str):
        return False
    try:
        NamespaceType.parse(kind)
    except ValueError:
        return True
    return False
