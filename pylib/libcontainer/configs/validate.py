# SPDX-License-Identifier: Apache-2.0
"""What cannot be: refused before anything is made, by the path in config.json.

The rules are runc's (libcontainer/configs/validate), in one list of checks.
"""

from __future__ import annotations

import os

from libcontainer.errors import ConfigError
from nsenter import idmap
from nsenter.namespaces import NamespaceType, is_namespace_supported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Config, IDMap, Mount

_IPC_SYSCTLS = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)
_UTS_SYSCTLS = {"kernel.domainname": "domainname", "kernel.hostname": "hostname"}
_DEADLINE = 6
_FIFO_AND_RR = (1, 2)


def validate(config: Config) -> None:
    """Raises ConfigError for the first rule that it breaks."""
    for check in _CHECKS:
        check(config)


def _has(config: Config, kind: NamespaceType) -> bool:
    return config.namespaces.contains(kind)


def _needs(config: Config, kind: NamespaceType, path: str, given: object) -> None:
    if given and not _has(config, kind):
        raise ConfigError(
            path,
            f"given, but no {kind.oci_name} namespace: add "
            f'{{"type": "{kind.oci_name}"}} to linux.namespaces',
        )


def _rootfs(config: Config) -> None:
    path = config.rootfs
    if not path.startswith("/"):
        raise ConfigError("root.path", f"{path!r} is not an absolute path")
    try:
        is_folder = os.path.isdir(path)
        os.lstat(path)
    except OSError as error:
        raise ConfigError("root.path", f"{path!r}: {error.strerror}") from None
    if not is_folder:
        raise ConfigError("root.path", f"{path!r} is not a directory")
    if os.path.realpath(path) != path:
        raise ConfigError("root.path", f"{path!r} is not clean, or a symbolic link")


def _namespaces(config: Config) -> None:
    for i, namespace in enumerate(config.namespaces):
        where = f"linux.namespaces[{i}]"
        if not is_namespace_supported(namespace.type):
            raise ConfigError(
                f"{where}.type", f"this kernel has no {namespace.type.oci_name} namespaces"
            )
        if namespace.path and not os.path.exists(namespace.path):
            raise ConfigError(f"{where}.path", f"{namespace.path!r} does not exist")


def _hostname(config: Config) -> None:
    _needs(config, NamespaceType.NEWUTS, "hostname", config.hostname)
    _needs(config, NamespaceType.NEWUTS, "domainname", config.domainname)


def _security(config: Config) -> None:
    kind = NamespaceType.NEWNS
    _needs(config, kind, "linux.maskedPaths", config.mask_paths)
    _needs(config, kind, "linux.readonlyPaths", config.readonly_paths)
    for path in (*config.mask_paths, *config.readonly_paths):
        if not path.startswith("/"):
            raise ConfigError(
                "linux.maskedPaths and readonlyPaths", f"{path!r} is not an absolute path"
            )
    for label, where in (
        (config.process_label, "process.selinuxLabel"),
        (config.mount_label, "linux.mountLabel"),
    ):
        if label and not os.path.isdir("/sys/fs/selinux"):
            raise ConfigError(where, "given, but SELinux is not enabled on this machine")
    if config.apparmor_profile and not os.path.isdir("/sys/kernel/security/apparmor"):
        raise ConfigError(
            "process.apparmorProfile", "given, but AppArmor is not enabled on this machine"
        )


def _mappings(config: Config) -> None:
    kind = NamespaceType.NEWUSER
    _needs(config, kind, "linux.uidMappings", config.uid_mappings)
    _needs(config, kind, "linux.gidMappings", config.gid_mappings)
    if not config.namespaces.is_private(kind):
        return
    for name, maps in (("uid", config.uid_mappings), ("gid", config.gid_mappings)):
        where = f"linux.{name}Mappings"
        if not maps:
            raise ConfigError(where, "missing, and linux.namespaces asks for a new user namespace")
        try:
            idmap.check(maps)
        except ValueError as error:
            raise ConfigError(where, str(error)) from None


def _time(config: Config) -> None:
    kind = NamespaceType.NEWTIME
    _needs(config, kind, "linux.timeOffsets", config.time_offsets)
    if config.time_offsets and config.namespaces.path_of(kind):
        raise ConfigError("linux.timeOffsets", "given, but the time namespace is joined")


def _sysctl(config: Config) -> None:
    for name in config.sysctl:
        _one_sysctl(config, name)


def _one_sysctl(config: Config, name: str) -> None:
    where = f"linux.sysctl[{name!r}]"
    dotted = name.replace("/", ".")
    if dotted in _IPC_SYSCTLS or dotted.startswith("fs.mqueue."):
        _needs(config, NamespaceType.NEWIPC, where, True)
    elif dotted.startswith("net."):
        _needs(config, NamespaceType.NEWNET, where, True)
        path = config.namespaces.path_of(NamespaceType.NEWNET)
        if path and _is_ours(path, NamespaceType.NEWNET):
            raise ConfigError(where, "the network namespace is the host's")
    elif dotted in _UTS_SYSCTLS:
        _needs(config, NamespaceType.NEWUTS, where, True)
        if dotted == "kernel.hostname":
            raise ConfigError(where, "use hostname instead: the two could differ")
    elif dotted != "kernel.domainname":
        raise ConfigError(where, "it is not of any namespace: it would change the host's")


def _is_ours(path: str, kind: NamespaceType) -> bool:
    theirs, ours = os.stat(path), os.stat(f"/proc/self/ns/{kind.ns_name()}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)


def _mounts(config: Config) -> None:
    _needs(config, NamespaceType.NEWNS, "mounts", config.mounts)
    for i, mount in enumerate(config.mounts):
        _one_mount(config, f"mounts[{i}]", mount)


def _one_mount(config: Config, where: str, mount: Mount) -> None:
    if not mount.destination.startswith("/"):
        raise ConfigError(f"{where}.destination", f"{mount.destination!r} is not absolute")
    if not mount.idmap:
        return
    if not mount.is_bind:
        raise ConfigError(where, "id mappings are for bind mounts")
    if bool(mount.uid_mappings) != bool(mount.gid_mappings):
        raise ConfigError(where, "uidMappings and gidMappings go together")
    if not mount.uid_mappings and not config.uid_mappings:
        raise ConfigError(where, "idmap without mappings takes the container's, which has none")


def _rootless(config: Config) -> None:
    """Who is not root maps ids by a user namespace, and mounts with ids that are mapped."""
    if not config.rootless_euid:
        return
    if not _has(config, NamespaceType.NEWUSER):
        raise ConfigError(
            "linux.namespaces",
            'without root a container needs a user namespace: add {"type": "user"} and mappings',
        )
    if config.namespaces.path_of(NamespaceType.NEWUSER):
        return
    for i, mount in enumerate(config.mounts):
        for option in mount.data.split(","):
            name, _, value = option.partition("=")
            maps = {"uid": config.uid_mappings, "gid": config.gid_mappings}.get(name)
            if maps is not None and value.isdecimal() and not _is_mapped(maps, int(value)):
                raise ConfigError(f"mounts[{i}].options", f"{option!r}: this id is not mapped")


def _is_mapped(maps: tuple[IDMap, ...], id: int) -> bool:
    return any(m.container_id <= id < m.container_id + m.size for m in maps)


def _scheduler(config: Config) -> None:
    scheduler = config.scheduler
    if scheduler is None:
        return
    where = "process.scheduler"
    if scheduler.policy in (0, 3) and not -20 <= scheduler.nice <= 19:
        raise ConfigError(f"{where}.nice", f"{scheduler.nice} is not in -20..19")
    if scheduler.priority and scheduler.policy not in _FIFO_AND_RR:
        raise ConfigError(f"{where}.priority", "it is for SCHED_FIFO and SCHED_RR alone")
    times = scheduler.runtime or scheduler.deadline or scheduler.period
    if times and scheduler.policy != _DEADLINE:
        raise ConfigError(where, "runtime, deadline and period are for SCHED_DEADLINE alone")


def _resources(config: Config) -> None:
    limits, where = config.cgroups.resources, "linux.resources"
    memory, swap = limits.memory, limits.memory_swap
    if swap and swap > 0 and memory and swap < memory:
        raise ConfigError(f"{where}.memory.swap", "memory and swap together are less than memory")
    if limits.unified and not _is_unified():
        raise ConfigError(f"{where}.unified", "it takes cgroup v2, and this machine has v1")


def _is_unified() -> bool:
    from libcontainer.cgroups import layout

    return bool(layout().unified)


_CHECKS = (
    _rootfs,
    _namespaces,
    _hostname,
    _security,
    _mappings,
    _time,
    _sysctl,
    _mounts,
    _rootless,
    _scheduler,
    _resources,
)
