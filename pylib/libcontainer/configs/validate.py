# SPDX-License-Identifier: Apache-2.0
"""Check a configuration before anything is created. Errors name the path in config.json.

The rules are those of runc (libcontainer/configs/validate), and some of the kernel's that would
otherwise fail when the container is only partly created. They apply to every `Config`, whether or
not it was made from a config.json.
"""

from __future__ import annotations

import os
from errno import ENOTDIR

from libcontainer.configs.sysctls import check_sysctls
from libcontainer.errors import ConfigError
from libcontainer.runc_messages import errno_text
from nsenter import idmap
from nsenter._host.syscalls import MOUNT_ATTR_IDMAP
from nsenter.namespaces import NamespaceType, is_namespace_supported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from libcontainer.configs import Config, Hook, IDMap, Mount, ProcessConfig, Scheduler

_FIFO, _RR, _DEADLINE = 1, 2, 6  # sched(7)
_RT_PRIORITIES = range(1, 100)
_LEAST_RUNTIME = 1024  # nanoseconds
_INT64 = 2**63 - 1
_IO_CLASSES = (1, 2, 3)
_IO_PRIORITIES = range(8)
_MOST_OOM_SCORE = 1000


def validate(config: Config) -> None:
    """Refuse a configuration that is not valid, like validate.Validate of runc.

    Args:
        config: the configuration to check.

    Raises:
        ConfigError: a rule is broken. The error names the first such rule, the place in
            config.json, and what to do.
    """
    for check in _CHECKS:
        check(config)


def _needs(config: Config, kind: NamespaceType, where: str, given: object, words: str) -> None:
    """Refuse a setting, in runc's words, if it requires a namespace that is missing."""
    if given and not config.namespaces.contains(kind):
        add = f'add {{"type": "{kind.oci_name}"}} to linux.namespaces'
        raise ConfigError(where, f"{words}: {add}")


def _rootfs(config: Config) -> None:
    path = config.rootfs
    if not path.startswith("/"):
        raise ConfigError("root.path", f"{path!r} is not an absolute path")
    try:
        os.stat(path)
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        why = f"invalid rootfs: stat {path}: {errno_text(error.errno or 0)}"
        raise ConfigError("root.path", why) from None
    except ValueError as error:
        raise ConfigError("root.path", f"{path!r}: {error}") from None
    if not os.path.isdir(path):
        raise ConfigError("root.path", f"invalid rootfs: {path}: {errno_text(ENOTDIR)}")
    if real != path:
        raise ConfigError("root.path", f"{path!r} is not clean or a symbolic link: use {real!r}")


def _namespaces(config: Config) -> None:
    for i, namespace in enumerate(config.namespaces):
        where = f"linux.namespaces[{i}]"
        name = namespace.type.oci_name
        if not is_namespace_supported(namespace.type):
            raise ConfigError(f"{where}.type", f"this kernel has no {name} namespaces")
        if namespace.path:
            _check_joined(f"{where}.path", namespace.path)


def _check_joined(where: str, path: str) -> None:
    try:
        os.stat(path)
    except OSError as error:
        raise ConfigError(where, f"stat {path}: {errno_text(error.errno or 0)}") from None
    except ValueError as error:
        raise ConfigError(where, f"{path!r}: {error}") from None


def _names(config: Config) -> None:
    for name, given in ("hostname", config.hostname), ("domainname", config.domainname):
        words = f"unable to set {name} without a private UTS namespace"
        _needs(config, NamespaceType.NEWUTS, name, given, words)


def _mount_namespace(config: Config) -> None:
    """Refuse everything that would change the caller's mounts."""
    for words, where, given in (
        ("mount", "mounts", config.mounts),
        ("restrict sys entries", "linux.maskedPaths", config.mask_paths),
        ("restrict sys entries", "linux.readonlyPaths", config.readonly_paths),
        ("set a propagation", "linux.rootfsPropagation", config.root_propagation),
        (
            "make the root read-only",
            "root.readonly",
            config.readonlyfs or config.readonly_submounts,
        ),
    ):
        words = f"unable to {words} without a private MNT namespace"
        _needs(config, NamespaceType.NEWNS, where, given, words)


def _paths(config: Config) -> None:
    masked = ("linux.maskedPaths", config.mask_paths)
    for where, paths in (masked, ("linux.readonlyPaths", config.readonly_paths)):
        for i, path in enumerate(paths):
            if not path.startswith("/"):
                raise ConfigError(f"{where}[{i}]", f"{path!r} is not an absolute path")


def _labels(config: Config) -> None:
    asked = config.apparmor_profile, config.process_label, config.mount_label
    if any(asked):
        from libcontainer.labels import check

        check(*asked)


def _mappings(config: Config) -> None:
    kind = NamespaceType.NEWUSER
    words = "user namespace mappings specified, but user namespace isn't enabled in the config"
    _needs(config, kind, "linux.uidMappings", config.uid_mappings, words)
    _needs(config, kind, "linux.gidMappings", config.gid_mappings, words)
    joined = config.namespaces.path_of(kind)
    for name, maps in (("uid", config.uid_mappings), ("gid", config.gid_mappings)):
        where = f"linux.{name}Mappings"
        if config.namespaces.is_private(kind):
            _check_new_map(where, maps)
        elif maps:
            _check_known_map(where, maps, f"{name}_map", joined)


def _check_new_map(where: str, maps: tuple[IDMap, ...]) -> None:
    if not maps:
        name = where.removeprefix("linux.")[:3]
        why = f"user namespaces enabled, but no {name} mappings found: add one"
        raise ConfigError(where, why)
    _check_map(where, maps)
    if idmap.host_id(maps, 0) is None:
        raise ConfigError(
            where, "id 0, the root of the container, is not mapped: add a line for it"
        )


def _check_map(where: str, maps: tuple[IDMap, ...]) -> None:
    try:
        idmap.check(maps)
    except ValueError as error:
        raise ConfigError(where, str(error)) from None


def _check_known_map(where: str, maps: tuple[IDMap, ...], file: str, joined: str) -> None:
    """Refuse mappings that differ from those of the user namespace that is joined.

    Such mappings would have no effect. The check is possible only if the path of the namespace
    names a process in it.
    """
    folder, found, _ = joined.partition("/ns/user")
    if not found or not folder.startswith("/proc/"):
        return
    try:
        with open(f"{folder}/{file}", "rb") as opened:
            real = idmap.parse(opened.read())
    except (OSError, ValueError):
        return
    if sorted(idmap.encode(real).split(b"\n")) != sorted(idmap.encode(maps).split(b"\n")):
        raise ConfigError(where, f"not that of the user namespace {joined!r}: leave it out")


def _time(config: Config) -> None:
    kind, where = NamespaceType.NEWTIME, "linux.timeOffsets"
    offsets = config.time_offsets
    words = "time namespace offsets specified, but time namespace isn't enabled in the config"
    _needs(config, kind, where, offsets, words)
    if offsets and config.namespaces.path_of(kind):
        raise ConfigError(
            where, "it cannot be set in a time namespace that is joined: leave one of them out"
        )
    if len({offset.clock for offset in offsets}) < len(offsets):
        raise ConfigError(where, "a clock is given twice")
    for offset in offsets:
        if not 0 <= offset.nsecs < 10**9:
            raise ConfigError(f"{where}.{offset.clock}.nanosecs", f"{offset.nsecs}: not a second's")


def _mounts(config: Config) -> None:
    for i, mount in enumerate(config.mounts):
        _check_mount(config, f"mounts[{i}]", mount)


def _check_mount(config: Config, where: str, mount: Mount) -> None:
    if not mount.destination.startswith("/"):
        raise ConfigError(f"{where}.destination", f"{mount.destination!r} is not absolute")
    if mount.is_bind and not mount.source.startswith("/"):
        raise ConfigError(f"{where}.source", f"{mount.source!r} is not absolute")
    if mount.is_bind and mount.data:
        raise ConfigError(
            f"{where}.options",
            f"{mount.data!r} is an option of a file system, not of a bind mount: leave it out",
        )
    if (mount.rec_attr_set | mount.rec_attr_clr) & MOUNT_ATTR_IDMAP:
        raise ConfigError(f"{where}.options", "an id mapping is no attribute: use idmap")
    if mount.idmap or mount.uid_mappings or mount.gid_mappings:
        _check_mapped_mount(config, where, mount)


def _check_mapped_mount(config: Config, where: str, mount: Mount) -> None:
    if not mount.is_bind:
        raise ConfigError(where, "id mappings are for bind mounts: add the option bind")
    if config.rootless_euid:
        raise ConfigError(where, "an id-mapped mount requires root")
    for name, own, other in (
        ("uidMappings", mount.uid_mappings, mount.gid_mappings),
        ("gidMappings", mount.gid_mappings, mount.uid_mappings),
    ):
        if other and not own:
            raise ConfigError(f"{where}.{name}", "missing: uidMappings and gidMappings go together")
        _check_map(f"{where}.{name}", own)
    if not mount.uid_mappings and not config.namespaces.contains(NamespaceType.NEWUSER):
        raise ConfigError(
            where,
            "idmap without mappings takes those of the container's user namespace, and it has "
            "none: add uidMappings and gidMappings",
        )


def _rootless(config: Config) -> None:
    """A user other than root needs a user namespace, and mount options may use only mapped ids."""
    if not config.rootless_euid:
        return
    if not config.namespaces.contains(NamespaceType.NEWUSER):
        raise ConfigError(
            "linux.namespaces",
            'rootless container requires user namespaces: add {"type": "user"}, and mappings',
        )
    for i, mount in enumerate(config.mounts):
        for option in mount.data.split(","):
            name, _, value = option.partition("=")
            maps = {"uid": config.uid_mappings, "gid": config.gid_mappings}.get(name)
            if maps and value.isdecimal() and idmap.host_id(maps, int(value[:_DIGITS])) is None:
                raise ConfigError(
                    f"mounts[{i}].options", f"{option!r}: this id is not in linux.{name}Mappings"
                )


_DIGITS = 20  # more than any id has


def validate_process(config: Config | ProcessConfig) -> None:
    """Refuse attributes that a process cannot have.

    Args:
        config: the configuration of the process, or that of its container.

    Raises:
        ConfigError: an attribute is not valid.
    """
    for check in (_scheduler, _priorities):
        check(config)


def _scheduler(config: Config | ProcessConfig) -> None:
    scheduler, where = config.scheduler, "process.scheduler"
    if scheduler is None:
        return
    policy = scheduler.policy
    if not -20 <= scheduler.nice <= 19:
        raise ConfigError(f"{where}.nice", f"{scheduler.nice} is not in -20..19")
    if scheduler.priority and policy not in (_FIFO, _RR):
        raise ConfigError(f"{where}.priority", "it requires SCHED_FIFO or SCHED_RR")
    if policy in (_FIFO, _RR) and scheduler.priority not in _RT_PRIORITIES:
        why = f"{scheduler.priority} is not in 1..99, which SCHED_FIFO and SCHED_RR require"
        raise ConfigError(f"{where}.priority", why)
    for name in ("runtime", "deadline", "period"):
        if getattr(scheduler, name) and policy != _DEADLINE:
            raise ConfigError(f"{where}.{name}", "it requires SCHED_DEADLINE")
    if policy == _DEADLINE:
        _check_deadline(where, scheduler)


def _check_deadline(where: str, scheduler: Scheduler) -> None:
    """Check as the kernel does (sched(7)): 1024 ns <= runtime <= deadline <= period."""
    runtime, deadline = scheduler.runtime, scheduler.deadline
    period = scheduler.period or deadline
    if runtime < _LEAST_RUNTIME:
        why = f"{runtime} ns: SCHED_DEADLINE requires {_LEAST_RUNTIME} or more"
        raise ConfigError(f"{where}.runtime", why)
    if deadline < runtime:
        raise ConfigError(f"{where}.deadline", f"{deadline} is less than runtime, {runtime}")
    if period < deadline:
        raise ConfigError(f"{where}.period", f"{period} is less than deadline, {deadline}")
    if period > _INT64:
        raise ConfigError(f"{where}.period", f"{period} is more than {_INT64}")


def _priorities(config: Config | ProcessConfig) -> None:
    priority, score = config.io_priority, config.oom_score_adj
    where = "process.ioPriority"
    if priority is not None and priority.class_ not in _IO_CLASSES:
        raise ConfigError(f"{where}.class", f"{priority.class_} is no class of ioprio_set(2)")
    if priority is not None and priority.priority not in _IO_PRIORITIES:
        raise ConfigError(f"{where}.priority", f"{priority.priority} is not in 0..7")
    if score is not None and abs(score) > _MOST_OOM_SCORE:
        raise ConfigError("process.oomScoreAdj", f"{score} is not in -1000..1000")


def _hooks(config: Config) -> None:
    for where, hook in _every_hook(config):
        if not hook.path.startswith("/"):
            raise ConfigError(f"{where}.path", f"{hook.path!r} is not an absolute path")
        if hook.timeout is not None and hook.timeout <= 0:
            raise ConfigError(f"{where}.timeout", f"{hook.timeout} s: it must be more than 0")


def _every_hook(config: Config) -> Iterator[tuple[str, Hook]]:
    for field, hooks in config.hooks.__dict__.items():
        first, *words = field.split("_")
        kind = first + "".join(map(str.capitalize, words))
        for i, hook in enumerate(hooks):
            yield f"hooks.{kind}[{i}]", hook


def _resources(config: Config) -> None:
    limits, where = config.cgroups.resources, "linux.resources"
    if config.cgroups.disabled:
        _without_cgroup(config)
    memory, swap = limits.memory or 0, limits.memory_swap or 0
    if memory > 0 and 0 < swap < memory:
        raise ConfigError(
            f"{where}.memory.swap",
            f"{swap} is memory and swap together: less than memory alone, {memory}",
        )
    if swap > 0 and not memory and _is_unified():
        raise ConfigError(f"{where}.memory.swap", "it requires memory.limit: add that")
    if limits.unified and not _is_unified():
        raise ConfigError(
            f"{where}.unified",
            "invalid configuration: it is for cgroup v2, and this machine has v1",
        )


def _without_cgroup(config: Config) -> None:
    if config.cgroups.resources.limits_anything():
        raise ConfigError("linux.resources", "a limit requires a cgroup: leave it out")
    if not config.namespaces.is_private(NamespaceType.NEWPID):
        raise ConfigError(
            "linux.namespaces",
            'a container without a cgroup requires a pid namespace: add {"type": "pid"}',
        )


def _is_unified() -> bool:
    from libcontainer.cgroups import layout

    return bool(layout().unified)


_LONGEST_DEVICE_NAME = 15  # IFNAMSIZ, with the NUL


def _net_devices(config: Config) -> None:
    devices, where = config.net_devices, "linux.netDevices"
    words = "unable to move network devices without a private NET namespace"
    _needs(config, NamespaceType.NEWNET, where, devices, words)
    if not devices:
        return
    if config.rootless_euid or config.rootless_cgroups:
        why = "network devices are not supported in rootless containers: leave them out"
        raise ConfigError(where, why)
    joined = config.namespaces.path_of(NamespaceType.NEWNET)
    if joined and os.path.samefile(joined, "/proc/self/ns/net"):
        raise ConfigError(where, f"{words}: {joined!r}, which is joined, is the caller's own")
    for old, new in devices.items():
        for name in (old, new):
            if not _is_device_name(name):
                raise ConfigError(f"{where}[{old!r}]", f"invalid network device name {name!r}")
    if len(set(devices.values())) < len(devices):
        raise ConfigError(where, "two devices would have the same name in the container")


def _is_device_name(name: str) -> bool:
    """Return whether a name is valid, like dev_valid_name of the kernel, but without "%".

    "eth%d" asks the kernel for any free number: nobody would know the name of the device then.
    """
    size = len(name.encode("utf-8", "surrogateescape"))
    is_odd = name in (".", "..") or any(c in "/:%" or c.isspace() for c in name)
    return 0 < size <= _LONGEST_DEVICE_NAME and not is_odd


_CHECKS = (
    _rootfs,
    _namespaces,
    _names,
    _mount_namespace,
    _paths,
    _labels,
    _mappings,
    _time,
    _net_devices,
    check_sysctls,
    _mounts,
    _rootless,
    validate_process,
    _hooks,
    _resources,
)
