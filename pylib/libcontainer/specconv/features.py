# SPDX-License-Identifier: Apache-2.0
"""OCI's features document (features.md): what this runtime can do, on any machine."""

from __future__ import annotations

from libcontainer.init.capabilities import NAMES
from libcontainer.specconv import mounts, seccomp
from libcontainer.specconv.spec import _HOOKS
from nsenter.namespaces import namespace_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = "AARCH64 ARM MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PPC PPC64 PPC64LE"
_MORE_ARCHITECTURES = "RISCV64 S390 S390X X32 X86 X86_64"
_FLAGS = ("LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV")


def features() -> dict[str, Any]:
    """The document, as plain data."""
    tables = (mounts.FLAGS, mounts.PROPAGATION, mounts.RECURSIVE, mounts.EXTENSIONS, mounts.IDMAP)
    flags = [f"SECCOMP_FILTER_FLAG_{name}" for name in _FLAGS]
    architectures = f"{_ARCHITECTURES} {_MORE_ARCHITECTURES}".split()
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": "1.2.0",
        "hooks": list(_HOOKS),
        "mountOptions": sorted(option for table in tables for option in table),
        "linux": {
            "namespaces": sorted(kind.oci_name for kind in namespace_types()),
            "capabilities": sorted(NAMES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(seccomp.ACTIONS),
                "operators": sorted(seccomp.OPERATORS),
                "archs": sorted(f"SCMP_ARCH_{name}" for name in architectures),
                "knownFlags": flags,
                "supportedFlags": flags,
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": True}},
        },
    }
