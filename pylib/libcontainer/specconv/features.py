# SPDX-License-Identifier: Apache-2.0
"""The features document of OCI (features.md): what this runtime supports on any machine."""

from __future__ import annotations

from libcontainer.specconv import memory_policy, mounts, seccomp
from libcontainer.specconv.hooks import HOOKS
from libcontainer.specconv.namespaces import KINDS
from nsenter._message.capabilities import NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_OLDEST = "1.0.0"
_NEWEST = "1.3.0"


def features() -> dict[str, Any]:
    """Return the document as plain data."""
    flags = sorted(seccomp.FLAGS)
    return {
        "ociVersionMin": _OLDEST,
        "ociVersionMax": _NEWEST,
        "hooks": list(HOOKS),
        "mountOptions": sorted(option for table in mounts.TABLES for option in table),
        "linux": {
            "namespaces": sorted(KINDS),
            "capabilities": list(NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted(seccomp.ARCHITECTURES),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "netDevices": {"enabled": True},
            "memoryPolicy": {
                "modes": sorted(memory_policy.MODES),
                "flags": sorted(memory_policy.FLAGS),
            },
            "mountExtensions": {"idmap": {"enabled": True}},
        },
        "annotations": {"org.opencontainers.runc.checkpoint.enabled": "false"},
        # Annotations that change what is run, so that who passes on a stranger's can refuse them.
        "potentiallyUnsafeConfigAnnotations": ["bundle", "org.systemd.property."],
    }
