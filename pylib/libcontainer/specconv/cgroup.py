# SPDX-License-Identifier: Apache-2.0
"""Read "linux.cgroupsPath" and "linux.resources", and find the owner of the container's cgroup."""

from __future__ import annotations

import os

from libcontainer.configs import Cgroup
from libcontainer.errors import ConfigError
from libcontainer.specconv.devices import DENY_ALL, always_allowed
from libcontainer.specconv.resources import resources_from_spec
from nsenter._host.syscalls import MS_RDONLY
from nsenter.idmap import host_id
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Device, IDMap, Mount, Namespaces, Resources
    from libcontainer.specconv.reader import Reader

_CGROUP_MOUNT = "/sys/fs/cgroup"
_CGROUP_TYPES = ("cgroup", "cgroup2")


def cgroup_from_spec(
    spec: Reader,
    linux: Reader,
    *,
    id: str,
    systemd: bool,
    rootless: bool,
    devices: tuple[Device, ...],
    owner: int | None,
    disabled: bool = False,
) -> Cgroup:
    """Return the configuration of the container's cgroup.

    Args:
        spec, linux: the whole document, and its "linux".
        id: the id of the container.
        systemd: systemd creates the cgroup.
        rootless: see `Cgroup`.
        devices: the devices of the container.
        owner: see `owner_of`.
        disabled: the container gets no cgroup of its own.
    """
    path = linux.text("cgroupsPath")
    properties: dict[str, str] = {}
    if systemd:
        from libcontainer.specconv.systemd import check_unit, unit_properties

        check_unit(linux.at("cgroupsPath"), path)
        properties = unit_properties(spec)
    elif path:
        path = _cleaned(path)
    return Cgroup(
        path=path,
        name=id,
        systemd=systemd,
        rootless=rootless,
        owner_uid=owner,
        resources=_resources(linux, devices),
        systemd_props=properties,
        disabled=disabled,
    )


def _cleaned(path: str) -> str:
    """Return the path without "..", so that it cannot leave the hierarchy.

    A relative path stays relative.
    """
    absolute = os.path.normpath(f"/{path.lstrip('/')}")
    return absolute if path.startswith("/") else absolute[1:]


def _resources(linux: Reader, devices: tuple[Device, ...]) -> Resources:
    spec = linux.object("resources")
    told = () if spec is None else spec.value.get("devices")
    always = always_allowed(devices)
    # With nothing said, all that is not in the list is denied.
    rules = always if told else (DENY_ALL, *always)
    return resources_from_spec({} if spec is None else spec.value, always=rules)


def owner_of(
    namespaces: Namespaces, mounts: tuple[Mount, ...], maps: tuple[IDMap, ...], uid: int
) -> int | None:
    """Return the host's uid that manages the container's cgroup; None if that is nobody in it.

    As in runc, it is the uid of the first process if the container has a cgroup namespace with a
    writable cgroup file system.

    Args:
        namespaces: the namespaces of the container.
        mounts: the mounts of the container.
        maps: the map of user ids, if the container has a user namespace.
        uid: the uid of the first process in the container.
    """
    if not namespaces.is_private(NamespaceType.NEWCGROUP) or not any(map(_is_writable, mounts)):
        return None
    if not namespaces.contains(NamespaceType.NEWUSER):
        return uid
    return host_id(maps, uid)


def _is_writable(mount: Mount) -> bool:
    return (
        mount.device in _CGROUP_TYPES
        and not mount.flags & MS_RDONLY
        and os.path.normpath(mount.destination) == _CGROUP_MOUNT
    )


def check_user(process: Reader, uids: tuple[IDMap, ...], gids: tuple[IDMap, ...]) -> None:
    """Refuse a user or group that a new user namespace does not map."""
    user = process.object("user")
    for name, maps in (("uid", uids), ("gid", gids)):
        id = user.id(name) if user else 0
        if maps and host_id(maps, id) is None:
            raise ConfigError(process.at(f"user.{name}"), f"{id} is not in linux.{name}Mappings")
