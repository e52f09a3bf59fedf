# SPDX-License-Identifier: Apache-2.0
"""`Config`: the whole configuration of a container."""

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
    """The five sets of capabilities(7), with names such as "CAP_CHOWN".

    `inheritable` is empty by default, because a program whose file has inheritable capabilities
    gets those that are in this set (CVE-2022-29162). The `ambient` capabilities must also be
    permitted and inheritable.
    """

    bounding: tuple[str, ...] = ()
    effective: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    permitted: tuple[str, ...] = ()
    ambient: tuple[str, ...] = ()


class Rlimit(Value):
    """A resource limit (getrlimit(2)).

    Args:
        type: the number of an RLIMIT_* constant.
        hard, soft: the limits, in the unit of this resource.
    """

    type: int
    hard: int
    soft: int


class IOPriority(Value):
    """The I/O priority of a process (ioprio_set(2)).

    Args:
        class_: 1 is real-time, 2 is best effort, 3 is idle.
        priority: from 0 to 7.
    """

    class_: int
    priority: int = 0


class Scheduler(Value):
    """The scheduling of a process (sched_setattr(2), sched(7)).

    Args:
        policy: the number of a SCHED_* constant.
        flags: SCHED_FLAG_* bits.
        nice: from -20 to 19.
        priority: from 1 to 99; only for SCHED_FIFO and SCHED_RR, which require it.
        runtime, deadline, period: nanoseconds; only for SCHED_DEADLINE.
    """

    policy: int
    flags: int = 0
    nice: int = 0
    priority: int = 0
    runtime: int = 0
    deadline: int = 0
    period: int = 0


class MemoryPolicy(Value):
    """The memory policy of a process (set_mempolicy(2)).

    Args:
        mode: the number of an MPOL_* constant.
        flags: MPOL_F_* bits.
        nodes: the numbers of the memory nodes.
    """

    mode: int
    flags: int = 0
    nodes: tuple[int, ...] = ()


class Hook(Value):
    """A command that runs at a certain point of the container's life.

    It gets the OCI state of the container on its stdin.

    Args:
        path: the absolute path of the program.
        args: the argument vector, including argv[0]. If it is empty, argv[0] is the path.
        env: the environment, as strings "NAME=value". None means the environment of the runtime;
            for a hook that runs in the container's namespaces, that of the process.
        timeout: how many seconds the hook may take. None means no limit.
    """

    path: str
    args: tuple[str, ...] = ()
    env: tuple[str, ...] | None = None
    timeout: int | None = None


class Hooks(Value):
    """The hooks of a container. The hooks of one kind run in the given order.

    Args:
        prestart, create_runtime: run in the runtime's namespaces, after the container's namespaces
            have been created and before the root changes.
        create_container: run in the container's namespaces, at the same point.
        start_container: run in the container, before the process is executed.
        poststart: run in the runtime's namespaces, after the process has been started.
        poststop: run in the runtime's namespaces, after the container has been deleted.
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


class ConfigForInit(Value):
    """The part of a container's configuration that its init gets; see `Config` for the fields."""

    nested = {
        "mounts": Mount,
        "devices": Device,
        "capabilities": Capabilities,
        "rlimits": Rlimit,
        "io_priority": IOPriority,
        "scheduler": Scheduler,
        "hooks": Hooks,
        "memory_policy": MemoryPolicy,
    }

    rootfs: str
    readonlyfs: bool = False
    readonly_submounts: bool = False
    no_pivot_root: bool = False
    root_propagation: int = 0
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    hostname: str = ""
    domainname: str = ""
    capabilities: Capabilities | None = None
    rlimits: tuple[Rlimit, ...] = ()
    no_new_privileges: bool = False
    apparmor_profile: str = ""
    process_label: str = ""
    mount_label: str = ""
    umask: int | None = None
    io_priority: IOPriority | None = None
    scheduler: Scheduler | None = None
    mask_paths: tuple[str, ...] = ()
    readonly_paths: tuple[str, ...] = ()
    sysctl: Mapping[str, str] = {}
    hooks: Hooks = Hooks()
    personality: int | None = None
    memory_policy: MemoryPolicy | None = None
    net_devices: Mapping[str, str] = {}
    parent_death_signal: int = 0
    no_new_keyring: bool = False
    rootless_cgroups: bool = False

    def for_init(self) -> dict[str, Any]:
        """Return the fields of this class as plain data, without those of subclasses."""
        others = self._fields.keys() - ConfigForInit._fields.keys()
        return self.to_data(full=True, besides=tuple(others))


class Config(ConfigForInit):
    """The configuration of a container, with the names of runc's libcontainer.

    Args:
        rootfs: the absolute path of the directory that becomes the root.
        readonlyfs: make the root read-only at the end of the setup.
        readonly_submounts: make everything that is already mounted below the root read-only in the
            container. What is mounted there later does not appear in the container.
        no_pivot_root: use MS_MOVE and chroot(2) instead of pivot_root(2), for a ramdisk.
        root_propagation: MS_* bits for the propagation of the root mount. 0 means slave, recursive.
        mounts: the mounts, in the order in which they are made.
        devices: the device nodes to make in /dev.
        namespaces: the namespaces to create or to join. For a type that is missing, the container
            is in the caller's namespace.
        uid_mappings, gid_mappings: the id mappings of a new user namespace.
        time_offsets: the clock offsets of a new time namespace.
        hostname, domainname: the names in a new UTS namespace. "" leaves them unchanged.
        cgroups: the cgroup of the container, and its limits.
        capabilities, rlimits, no_new_privileges, apparmor_profile, process_label: attributes of the
            first process, and of processes that are executed in the container later, unless their
            `ProcessConfig` gives others. None leaves an attribute unchanged.
        oom_score_adj, umask, io_priority, scheduler: more such attributes. None leaves an attribute
            unchanged, except that the umask is then 0o022.
        mount_label: the SELinux context of the mounts.
        mask_paths: paths whose content is hidden in the container.
        readonly_paths: paths below which nothing can be written.
        sysctl: kernel parameters: a mapping from names with dots to values.
        seccomp: the system call policy. None means no policy.
        hooks: commands that run at certain points of the container's life.
        personality: a number of personality(2). None leaves it unchanged.
        memory_policy: the memory policy of the processes. None leaves it unchanged.
        net_devices: network devices to move into the container: a mapping from their names outside
            to their names inside.
        parent_death_signal: the signal that the first process gets when the runtime ends. 0 means
            none.
        no_new_keyring: keep the session keyring of the caller.
        rootless_euid: the caller is not root.
        rootless_cgroups: the caller may not have the right to make cgroups.
        labels: annotations, as strings "name=value". One of them is "bundle=/path".
        version: the version of the OCI specification from which this configuration was made.
    """

    nested = {
        **ConfigForInit.nested,
        "uid_mappings": IDMap,
        "gid_mappings": IDMap,
        "time_offsets": TimeOffset,
        "cgroups": Cgroup,
        "seccomp": Seccomp,
    }

    namespaces: Namespaces = Namespaces()
    uid_mappings: tuple[IDMap, ...] = ()
    gid_mappings: tuple[IDMap, ...] = ()
    time_offsets: tuple[TimeOffset, ...] = ()
    cgroups: Cgroup = Cgroup()
    oom_score_adj: int | None = None
    seccomp: Seccomp | None = None
    rootless_euid: bool = False
    labels: tuple[str, ...] = ()
    version: str = ""

    def __post_init__(self) -> None:
        # A Namespaces is mutable: the caller may change its own later.
        self.__dict__["namespaces"] = self.namespaces.copy()

    @classmethod
    def from_data(cls, plain: Mapping[str, Any]) -> Config:
        """Return the configuration that `to_data` has turned into plain data."""
        fields = dict(plain)
        if "namespaces" in fields:
            fields["namespaces"] = Namespaces.from_json(fields["namespaces"])
        return super().from_data(fields)

    @classmethod
    def _read_field(cls, name: str, value: Any, where: str) -> Any:
        if name != "namespaces":
            return super()._read_field(name, value, where)
        if isinstance(value, list):  # a newer version may know types that this one does not
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
