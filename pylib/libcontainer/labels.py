# SPDX-License-Identifier: Apache-2.0
"""Whether this machine has the Linux security modules that a container asks for.

The init sets the labels (libcontainer.init.process.labels). This module says what is known before
the init is started.
"""

from __future__ import annotations

import os

from libcontainer.errors import ConfigError
from nsenter._host.cleanup import close
from nsenter._host.syscalls import Failure, file_system_type

__all__ = ["apparmor_is_enabled", "check", "selinux_is_enabled"]

_APPARMOR = "/sys/kernel/security/apparmor"
_APPARMOR_PARAMETER = "/sys/module/apparmor/parameters/enabled"
_UNCONFINED = "unconfined"
_SELINUX = "/sys/fs/selinux"
_SELINUX_MAGIC = 0xF97CFF8C
_SELINUX_WITHOUT_POLICY = "kernel"


def _read(path: str) -> str | None:
    """None where it cannot be read: it is not there, or not for this user."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(fd, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:  # /proc/self/attr of a kernel without the module
        return None


def apparmor_is_enabled() -> bool:
    """Whether the kernel enforces AppArmor's profiles, and lets us ask for one."""
    return os.path.isdir(_APPARMOR) and (_read(_APPARMOR_PARAMETER) or "").startswith("Y")


def selinux_is_enabled() -> bool:
    """Whether the kernel has SELinux, with a policy (libselinux's is_selinux_enabled(3))."""
    try:
        fd = os.open(_SELINUX, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if file_system_type(fd) != _SELINUX_MAGIC:
            return False
    except Failure:
        return False
    finally:
        close(fd)
    context = _read("/proc/self/attr/current")
    return context is not None and context.rstrip("\0\n") != _SELINUX_WITHOUT_POLICY


def _apparmor_profiles() -> set[str] | None:
    """The names of those that are loaded; None where only another user may know."""
    listed = _read(f"{_APPARMOR}/profiles")
    return None if listed is None else {line.rpartition(" (")[0] for line in listed.splitlines()}


def check(apparmor_profile: str = "", process_label: str = "", mount_label: str = "") -> None:
    """Refuse what would fail in the init, or not confine.

    Args:
        apparmor_profile, process_label, mount_label: as in a container's Config; "": none.

    Raises:
        ConfigError: the module is not enabled, or the profile not loaded.
    """
    if apparmor_profile:
        _check_apparmor(apparmor_profile)
    for where, label in (
        ("process.selinuxLabel", process_label),
        ("linux.mountLabel", mount_label),
    ):
        if label and not selinux_is_enabled():
            raise ConfigError(where, _without("SELinux"))


def _without(module: str) -> str:
    return f"given, but {module} is not enabled on this machine: leave it out"


def _check_apparmor(profile: str) -> None:
    where = "process.apparmorProfile"
    if not apparmor_is_enabled():
        raise ConfigError(where, _without("AppArmor"))
    loaded = _apparmor_profiles()
    # Names of stacks and of namespaces (apparmor.d(5)) are the kernel's to understand.
    is_plain = ":" not in profile and "//&" not in profile
    if loaded is not None and is_plain and profile not in (*loaded, _UNCONFINED):
        raise ConfigError(where, f"{profile!r} is not loaded; load it with apparmor_parser(8)")
