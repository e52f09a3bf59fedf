# SPDX-License-Identifier: Apache-2.0
"""A configuration to start from, for `pyrunc spec` and `pyrunc run --rootfs`."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CAPABILITIES = ("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE")
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_HARDENED = ["nosuid", "noexec", "nodev"]
TTY_GROUP = 5  # the group of terminals, on every distribution
_OF_TTY = f"gid={TTY_GROUP}"
_MOUNTS: tuple[tuple[str, str, str, list[str]], ...] = (
    ("/proc", "proc", "proc", []),
    ("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    ("/dev/pts", "devpts", "devpts",
     ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", _OF_TTY]),
    ("/dev/shm", "tmpfs", "shm", [*_HARDENED, "mode=1777", "size=65536k"]),
    ("/dev/mqueue", "mqueue", "mqueue", _HARDENED),
    ("/sys", "sysfs", "sysfs", [*_HARDENED, "ro"]),
    ("/sys/fs/cgroup", "cgroup", "cgroup", [*_HARDENED, "relatime", "ro"]),
)  # fmt: skip


def example(
    *, rootless: bool = False, cgroup_namespace: bool = True, tty_group: bool = True
) -> dict[str, Any]:
    """Return a config.json as plain data.

    Args:
        rootless: make it for a caller without root: with a user namespace that maps the caller's
            ids, and a bind mount of /sys.
        cgroup_namespace: give it a cgroup namespace.
        tty_group: let terminals belong to TTY_GROUP. The user namespace of the container, if it has
            one, must map this group; the one of a rootless configuration does not.
    """
    mounts = [_mount(*mount) for mount in _MOUNTS]
    if rootless or not tty_group:
        mounts = [_without_tty_group(mount) for mount in mounts]
    namespaces = ["pid", "network", "ipc", "uts", "mount"]
    if cgroup_namespace:
        namespaces.append("cgroup")
    linux: dict[str, Any] = {}
    if rootless:
        namespaces.remove("network")
        namespaces.append("user")
        linux = {
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
        }
        mounts = [_rootless(mount) for mount in mounts]
    else:
        linux = {"resources": {"devices": [{"allow": False, "access": "rwm"}]}}
    return {
        "ociVersion": "1.0.2",
        "process": _process(),
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "pyrunc",
        "mounts": mounts,
        "linux": {
            **linux,
            "namespaces": [{"type": kind} for kind in namespaces],
            "maskedPaths": list(_MASKED),
            "readonlyPaths": list(_READONLY),
        },
    }


def _process() -> dict[str, Any]:
    return {
        "terminal": True,
        "user": {"uid": 0, "gid": 0},
        "args": ["sh"],
        "env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "TERM=xterm",
        ],
        "cwd": "/",
        "capabilities": {
            kind: list(_CAPABILITIES) for kind in ("bounding", "effective", "permitted")
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
        "noNewPrivileges": True,
    }


def _mount(destination: str, type: str, source: str, options: list[str]) -> dict[str, Any]:
    mount: dict[str, Any] = {"destination": destination, "type": type, "source": source}
    return {**mount, "options": list(options)} if options else mount


def bound_sys() -> dict[str, Any]:
    """Return a bind mount of the host's /sys.

    Only the owner of a network namespace can mount a sysfs that shows it.
    """
    options = ["rbind", *_HARDENED, "ro"]
    return {"destination": "/sys", "type": "none", "source": "/sys", "options": options}


def _rootless(mount: dict[str, Any]) -> dict[str, Any]:
    """Return the mount for a container without root; a sysfs becomes a bind mount of /sys."""
    return bound_sys() if mount["type"] == "sysfs" else mount


def _without_tty_group(mount: dict[str, Any]) -> dict[str, Any]:
    options = [option for option in mount.get("options", ()) if option != _OF_TTY]
    return {**mount, "options": options} if options else mount
