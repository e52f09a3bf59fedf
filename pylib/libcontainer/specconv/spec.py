# SPDX-License-Identifier: Apache-2.0
"""The whole of config.json."""

from __future__ import annotations

import os

from libcontainer.configs import (
    Cgroup,
    Config,
    Device,
    DeviceRule,
    Hook,
    Hooks,
    Namespace,
    Namespaces,
    TimeOffset,
)
from libcontainer.errors import ConfigError
from libcontainer.specconv.idmaps import mappings
from libcontainer.specconv.mounts import PROPAGATION, mount_from_spec
from libcontainer.specconv.process import process_from_spec
from libcontainer.specconv.reader import Reader
from libcontainer.specconv.resources import resources_from_spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import IDMap, Resources

_NULL_DEVICES = (
    ("/dev/null", 1, 3), ("/dev/random", 1, 8), ("/dev/full", 1, 7), ("/dev/tty", 5, 0),
    ("/dev/zero", 1, 5), ("/dev/urandom", 1, 9),
)  # fmt: skip
DEFAULT_DEVICES = tuple(Device(path, "c", *number) for path, *number in _NULL_DEVICES)
# Allowed in every container, as with runc: to make any node, and to use these.
ALLOWED_DEVICES = (
    DeviceRule("c", -1, -1, "m", True),
    DeviceRule("b", -1, -1, "m", True),
    *(DeviceRule("c", major, minor, "rwm", True) for _, major, minor in _NULL_DEVICES),
    DeviceRule("c", 5, 1, "rwm", True),  # /dev/console
    DeviceRule("c", 5, 2, "rwm", True),  # /dev/ptmx
    DeviceRule("c", 136, -1, "rwm", True),  # /dev/pts/*
)
_DENY_ALL = DeviceRule("a", -1, -1, "rwm", False)
_MADE_LATER = {"/dev/console", "/dev/ptmx", "/dev/pts/ptmx"}

_PERSONALITIES = {"LINUX": 0, "LINUX32": 8}
_HOOKS = {
    "prestart": "prestart", "createRuntime": "create_runtime",
    "createContainer": "create_container", "startContainer": "start_container",
    "poststart": "poststart", "poststop": "poststop",
}  # fmt: skip
_CLOCKS = ("monotonic", "boottime")
_NOT_DONE = ("intelRdt", "netDevices", "memoryPolicy")
_PLATFORMS = ("solaris", "windows", "vm", "zos", "freebsd")
_SYSTEMD_PROPERTY = "org.systemd.property."


def config_from_spec(
    spec: Any,
    *,
    id: str,
    bundle: str,
    systemd_cgroup: bool = False,
    no_pivot_root: bool = False,
    no_new_keyring: bool = False,
    rootless_euid: bool = False,
    rootless_cgroups: bool = False,
) -> Config:
    """A container's configuration.

    Args:
        spec: config.json, parsed.
        id: of the container.
        bundle: the folder that relative paths are in.
        systemd_cgroup: systemd makes the cgroup.
        no_pivot_root, no_new_keyring: see `Config`.
        rootless_euid, rootless_cgroups: see `Config`.

    Raises:
        ConfigError: it is refused; says where in the file.
    """
    return _Conversion(Reader(spec, ""), id, os.path.abspath(bundle)).config(
        systemd_cgroup, no_pivot_root, no_new_keyring, rootless_euid, rootless_cgroups
    )


class _Conversion:
    def __init__(self, spec: Reader, id: str, bundle: str) -> None:
        self._spec = spec
        self._id = id
        self._bundle = bundle
        self._linux = spec.object("linux") or Reader({}, "linux")

    def config(
        self,
        systemd_cgroup: bool,
        no_pivot_root: bool,
        no_new_keyring: bool,
        rootless_euid: bool,
        rootless_cgroups: bool,
    ) -> Config:
        spec, linux = self._spec, self._linux
        self._check()
        process = self._process()
        root = spec.object("root")
        if root is None:
            raise ConfigError("root", "it is missing")
        namespaces = self._namespaces()
        uids = mappings(linux, "uidMappings")
        in_userns = any(ns.type.value == "NEWUSER" for ns in namespaces)
        return Config(
            rootfs=self._rootfs(root),
            readonlyfs=root.flag("readonly"),
            no_pivot_root=no_pivot_root,
            root_propagation=linux.choice("rootfsPropagation", PROPAGATION, 0),
            mounts=tuple(mount_from_spec(item, self._bundle) for item in spec.objects("mounts")),
            devices=self._devices(),
            namespaces=namespaces,
            uid_mappings=uids,
            gid_mappings=mappings(linux, "gidMappings"),
            time_offsets=self._time_offsets(),
            hostname=spec.text("hostname"),
            domainname=spec.text("domainname"),
            cgroups=self._cgroup(systemd_cgroup, rootless_cgroups, uids if in_userns else ()),
            mount_label=linux.text("mountLabel"),
            mask_paths=linux.texts("maskedPaths"),
            readonly_paths=linux.texts("readonlyPaths"),
            sysctl=linux.text_map("sysctl"),
            seccomp=self._seccomp(),
            hooks=self._hooks(),
            personality=self._personality(),
            no_new_keyring=no_new_keyring,
            rootless_euid=rootless_euid,
            rootless_cgroups=rootless_cgroups,
            labels=self._labels(),
            version=spec.text("ociVersion"),
            **process,
        )

    def _check(self) -> None:
        version = self._spec.needed_text("ociVersion")
        if version.split(".")[0] != "1":
            raise ConfigError("ociVersion", f"{version!r} is not of version 1 of the specification")
        for name in _NOT_DONE:
            if self._linux.value.get(name):
                raise ConfigError(self._linux.at(name), "it is not supported")
        for name in _PLATFORMS:
            if self._spec.value.get(name):
                raise ConfigError(name, "this runtime is for Linux, without virtual machines")

    def _process(self) -> dict[str, Any]:
        """What of the first process is the container's, for those that are executed in it."""
        if self._spec.value.get("process") is None:
            return {}
        process = process_from_spec(self._spec.value["process"])
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

    def _rootfs(self, root: Reader) -> str:
        path = root.needed_text("path")
        path = path if path.startswith("/") else f"{self._bundle}/{path}"
        return os.path.realpath(path) if os.path.isdir(path) else os.path.normpath(path)

    def _namespaces(self) -> Namespaces:
        found = Namespaces()
        for item in self._linux.objects("namespaces"):
            kind = item.needed_text("type")
            try:
                namespace = Namespace(kind, item.text("path"))
            except ValueError as error:
                raise ConfigError(item.where, str(error)) from None
            if found.contains(namespace.type):
                raise ConfigError(item.at("type"), f"{kind!r} is there twice")
            found.add(namespace.type, namespace.path)
        return found

    def _devices(self) -> tuple[Device, ...]:
        """The usual ones, and those of the file, which win."""
        found = {device.path: device for device in DEFAULT_DEVICES}
        for item in self._linux.objects("devices"):
            path = item.needed_text("path")
            type = item.needed_text("type")
            if type not in ("c", "b", "u", "p"):
                raise ConfigError(item.at("type"), f"{type!r} is none of c, b, u, p")
            if not path.startswith("/"):
                raise ConfigError(item.at("path"), f"{path!r} is not an absolute path")
            if path in _MADE_LATER:
                continue
            mode = item.optional_number("fileMode", least=0, most=0o7777)
            found[path] = Device(
                path=path,
                type=type,
                major=item.number("major", least=0, most=2**32 - 1),
                minor=item.number("minor", least=0, most=2**32 - 1),
                file_mode=0o666 if mode is None else mode,
                uid=item.id("uid"),
                gid=item.id("gid"),
            )
        return tuple(found.values())

    def _time_offsets(self) -> tuple[TimeOffset, ...]:
        table = self._linux.object("timeOffsets")
        if table is None:
            return ()
        found = []
        for clock in table.value:
            if clock not in _CLOCKS:
                raise ConfigError(table.at(clock), f"there is no such clock: {', '.join(_CLOCKS)}")
            item = Reader(table.value[clock], table.at(clock))
            nanoseconds = item.number("nanosecs", least=0, most=10**9 - 1)
            found.append(TimeOffset(clock, item.number("secs"), nanoseconds))
        return tuple(found)

    def _cgroup(self, systemd: bool, rootless: bool, uids: tuple[IDMap, ...]) -> Cgroup:
        path = self._linux.text("cgroupsPath")
        if systemd and path and path.count(":") != 2:
            raise ConfigError(
                "linux.cgroupsPath",
                f"{path!r} is not of the form slice:prefix:name, as --systemd-cgroup asks for",
            )
        props = {
            name.removeprefix(_SYSTEMD_PROPERTY): value
            for name, value in self._spec.text_map("annotations").items()
            if systemd and name.startswith(_SYSTEMD_PROPERTY)
        }
        return Cgroup(
            path=path,
            name=self._id,
            systemd=systemd,
            rootless=rootless,
            owner_uid=next((m.host_id for m in uids if m.container_id == 0), None),
            resources=self._resources(),
            systemd_props=props,
        )

    def _resources(self) -> Resources:
        spec = self._linux.value.get("resources") or {}
        resources = resources_from_spec(spec, always=ALLOWED_DEVICES)
        if not spec.get("devices"):
            resources = resources.replace(devices=(_DENY_ALL, *ALLOWED_DEVICES))
        return resources

    def _seccomp(self) -> Any:
        spec = self._linux.object("seccomp")
        if spec is None:
            return None
        from libcontainer.specconv.seccomp import seccomp_from_spec

        return seccomp_from_spec(spec)

    def _hooks(self) -> Hooks:
        spec = self._spec.object("hooks")
        if spec is None:
            return Hooks()
        return Hooks(
            **{
                field: tuple(_hook(item) for item in spec.objects(name))
                for name, field in _HOOKS.items()
            }
        )

    def _personality(self) -> int | None:
        spec = self._linux.object("personality")
        if spec is None:
            return None
        if spec.texts("flags"):
            raise ConfigError(spec.at("flags"), "they are not supported")
        number: int | None = spec.choice("domain", _PERSONALITIES)
        return number

    def _labels(self) -> tuple[str, ...]:
        annotations = self._spec.text_map("annotations").items()
        return (*(f"{name}={value}" for name, value in annotations), f"bundle={self._bundle}")


def _hook(item: Reader) -> Hook:
    path = item.needed_text("path")
    if not path.startswith("/"):
        raise ConfigError(item.at("path"), f"{path!r} is not an absolute path")
    timeout = item.optional_number("timeout", most=2**31)
    if timeout is not None and timeout <= 0:
        raise ConfigError(item.at("timeout"), f"{timeout} s: it has to be more than 0")
    return Hook(path=path, args=item.texts("args"), env=item.texts("env"), timeout=timeout)
