# SPDX-License-Identifier: Apache-2.0
"""Check whether this machine has the Linux security modules that a container requires.

The init sets the labels (libcontainer.init.process.labels). This module checks what can be known
before the init is started.
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
    """Return the content of a file; None if it does not exist or this user may not read it."""
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
    """Return whether the kernel enforces AppArmor profiles, and this process may ask for one."""
    return os.path.isdir(_APPARMOR) and (_read(_APPARMOR_PARAMETER) or "").startswith("Y")


def selinux_is_enabled() -> bool:
    """Return whether the kernel has SELinux with a policy, as is_selinux_enabled(3) does."""
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
    """Return the names of the loaded profiles; None if only another user may read them."""
    listed = _read(f"{_APPARMOR}/profiles")
    return None if listed is None else {line.rpartition(" (")[0] for line in listed.splitlines()}


def check(apparmor_profile: str = "", process_label: str = "", mount_label: str = "") -> None:
    """Refuse labels that would fail in the init, or would not confine the process.

    Args:
        apparmor_profile, process_label, mount_label: as in a container's Config; "" means none.

    Raises:
        ConfigError: the security module is not enabled, or the profile is not loaded.
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
