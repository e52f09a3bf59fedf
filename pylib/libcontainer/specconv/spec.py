# SPDX-License-Identifier: Apache-2.0
"""Convert a whole config.json."""

from __future__ import annotations

import os

from libcontainer.configs import Config, Hooks
from libcontainer.errors import ConfigError
from libcontainer.specconv.cgroup import cgroup_from_spec, check_user, owner_of
from libcontainer.specconv.devices import devices_from_spec
from libcontainer.specconv.idmaps import mappings
from libcontainer.specconv.mounts import PROPAGATION, mount_from_spec
from libcontainer.specconv.namespaces import namespaces_from_spec, time_offsets_from_spec
from libcontainer.specconv.net_devices import net_devices_from_spec
from libcontainer.specconv.process import process_from_spec
from libcontainer.specconv.reader import Reader
from nsenter._host.syscalls import MS_PRIVATE
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import MemoryPolicy, Mount, ProcessConfig, Seccomp

_MAJOR_VERSION = 1
_PERSONALITIES = {"LINUX": 0, "LINUX32": 8}  # personality(2)
# Known to the specification, and asking for something that would not be done.
_NOT_DONE = ("intelRdt",)
_PLATFORMS = ("solaris", "windows", "vm", "zos", "freebsd")


def config_from_spec(
    spec: Any,
    *,
    id: str,
    bundle: str,
    systemd_cgroup: bool = False,
    no_cgroup: bool = False,
    no_pivot_root: bool = False,
    readonly_submounts: bool = False,
    no_new_keyring: bool = False,
    rootless_euid: bool = False,
    rootless_cgroups: bool = False,
) -> Config:
    """Return the configuration of a container.

    Args:
        spec: the parsed config.json.
        id: the id of the container.
        bundle: the directory that relative paths are in.
        systemd_cgroup: systemd creates the cgroup.
        no_cgroup: the container stays in the cgroup of its caller.
        no_pivot_root, readonly_submounts, no_new_keyring: see `Config`.
        rootless_euid, rootless_cgroups: see `Config`.

    Raises:
        ConfigError: a value is not valid or not supported; the error says where it is.

    Example:
        >>> from libcontainer.specconv.example import example
        >>> config_from_spec(example(), id="web", bundle="/srv/web").rootfs
        '/srv/web/rootfs'
    """
    whole = Reader(spec, "")
    linux = whole.object("linux") or Reader({}, "linux")
    _refuse_unsupported(whole, linux)
    version = _version(whole)
    bundle = os.path.realpath(bundle)
    process = _process(whole)
    namespaces = namespaces_from_spec(linux)
    root = _root(whole, bundle)
    mounts = tuple(
        _below(mount_from_spec(item, bundle), root["rootfs"]) for item in whole.objects("mounts")
    )
    devices = devices_from_spec(linux)
    uids, gids = mappings(linux, "uidMappings"), mappings(linux, "gidMappings")
    if process is not None and namespaces.is_private(NamespaceType.NEWUSER):
        check_user(Reader(whole.value["process"], "process"), uids, gids)
    owner = owner_of(namespaces, mounts, uids, process.uid if process else 0)
    return Config(
        **root,
        **_of_process(process),
        no_pivot_root=no_pivot_root,
        root_propagation=_root_propagation(linux, no_pivot_root),
        mounts=mounts,
        devices=devices,
        namespaces=namespaces,
        uid_mappings=uids,
        gid_mappings=gids,
        time_offsets=time_offsets_from_spec(linux),
        hostname=whole.text("hostname"),
        domainname=whole.text("domainname"),
        cgroups=cgroup_from_spec(
            whole,
            linux,
            id=id,
            systemd=systemd_cgroup,
            rootless=rootless_cgroups,
            devices=devices,
            owner=owner,
            disabled=no_cgroup,
        ),
        mount_label=linux.text("mountLabel"),
        mask_paths=linux.texts("maskedPaths"),
        readonly_paths=linux.texts("readonlyPaths"),
        sysctl=_sysctl(linux),
        seccomp=_seccomp(linux),
        hooks=_hooks(whole),
        personality=_personality(linux),
        memory_policy=_memory_policy(linux),
        net_devices=net_devices_from_spec(linux),
        readonly_submounts=readonly_submounts,
        no_new_keyring=no_new_keyring,
        rootless_euid=rootless_euid,
        rootless_cgroups=rootless_cgroups,
        labels=_labels(whole, bundle),
        version=version,
    )


def _refuse_unsupported(spec: Reader, linux: Reader) -> None:
    for name in _NOT_DONE:
        if linux.value.get(name):
            raise ConfigError(linux.at(name), "this runtime does not support it: leave it out")
    for name in _PLATFORMS:
        if spec.value.get(name):
            raise ConfigError(name, "this runtime supports Linux containers only: leave it out")


def _version(spec: Reader) -> str:
    """Check the version of the specification (semver.org).

    The rules of version 1.0 hold for every version 1.x.
    """
    version = spec.needed_text("ociVersion")
    numbers = version.partition("+")[0].partition("-")[0].split(".")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise ConfigError("ociVersion", f"{version!r} is not of the form 1.2.0")
    if numbers[0].lstrip("0") != str(_MAJOR_VERSION):
        raise ConfigError("ociVersion", f"{version!r} is not of version 1 of the specification")
    return version


def _process(spec: Reader) -> ProcessConfig | None:
    process = spec.value.get("process")
    return None if process is None else process_from_spec(process)


def _of_process(process: ProcessConfig | None) -> dict[str, Any]:
    """Return the first process's settings that also hold for processes that are executed later."""
    if process is None:
        return {}
    return {
        "capabilities": process.capabilities,
        "rlimits": process.rlimits or (),
        "no_new_privileges": bool(process.no_new_privileges),
        "apparmor_profile": process.apparmor_profile,
        "process_label": process.process_label,
        "oom_score_adj": process.oom_score_adj,
        "umask": process.umask,
        "io_priority": process.io_priority,
        "scheduler": process.scheduler,
    }


def _root(spec: Reader, bundle: str) -> dict[str, Any]:
    root = spec.object("root")
    if root is None:
        raise ConfigError("root", 'it is missing: add {"path": "rootfs"}, a folder of the bundle')
    path = os.path.join(bundle, root.needed_text("path"))
    # What is not there is refused by `validate`, under the name that it has here.
    path = os.path.realpath(path) if os.path.exists(path) else os.path.normpath(path)
    return {"rootfs": path, "readonlyfs": root.flag("readonly")}


def _below(mount: Mount, rootfs: str) -> Mount:
    """Return a mount with its destination in the container.

    Some configurations give the path that the destination has on the host, which runc accepts.
    """
    path = os.path.normpath(f"/{mount.destination.lstrip('/')}")
    if rootfs == "/" or not f"{path}/".startswith(f"{rootfs}/"):
        return mount
    return mount.replace(destination=path[len(rootfs) :] or "/")


def _root_propagation(linux: Reader, no_pivot_root: bool) -> int:
    flags: int = linux.choice("rootfsPropagation", PROPAGATION, 0)
    if no_pivot_root and flags & MS_PRIVATE:
        raise ConfigError(
            linux.at("rootfsPropagation"),
            "private is not safe without pivot_root(2): the old root stays reachable",
        )
    return flags


def _sysctl(linux: Reader) -> dict[str, str]:
    """Return the sysctls with dots in their names.

    sysctl(8) also accepts slashes, with which a dot is a part of a name.
    """
    return {_dotted(name): value for name, value in linux.text_map("sysctl").items()}


def _dotted(name: str) -> str:
    slash, dot = name.find("/"), name.find(".")
    if slash == -1 or -1 < dot < slash:
        return name
    return name.translate({ord("."): "/", ord("/"): "."})


def _seccomp(linux: Reader) -> Seccomp | None:
    spec = linux.object("seccomp")
    if spec is None:
        return None
    from libcontainer.specconv.seccomp import seccomp_from_spec

    return seccomp_from_spec(spec)


def _hooks(whole: Reader) -> Hooks:
    spec = whole.object("hooks")
    if spec is None:
        return Hooks()
    from libcontainer.specconv.hooks import hooks_from_spec

    return hooks_from_spec(spec)


def _memory_policy(linux: Reader) -> MemoryPolicy | None:
    if linux.value.get("memoryPolicy") is None:
        return None
    from libcontainer.specconv.memory_policy import memory_policy_from_spec

    return memory_policy_from_spec(linux)


def _personality(linux: Reader) -> int | None:
    spec = linux.object("personality")
    if spec is None:
        return None
    if spec.texts("flags"):
        raise ConfigError(spec.at("flags"), "the specification knows none yet: leave them out")
    number: int = spec.choice("domain", _PERSONALITIES)
    return number


def _labels(whole: Reader, bundle: str) -> tuple[str, ...]:
    annotations = whole.text_map("annotations").items()
    return (*(f"{name}={value}" for name, value in annotations), f"bundle={bundle}")
