# SPDX-License-Identifier: Apache-2.0
"""Check which kernel parameters a container may set: those of its own namespaces.

Most parameters in /proc/sys apply to the whole machine. A few belong to a namespace
(namespaces(7)). The list of these is runc's.
"""

from __future__ import annotations

import os

from libcontainer.errors import ConfigError
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Config

_IPC = frozenset(
    "kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax "
    "kernel.shmmni kernel.shm_rmid_forced".split()
)
_HOSTNAME, _DOMAINNAME = "kernel.hostname", "kernel.domainname"


def check_sysctls(config: Config) -> None:
    """Refuse parameters that would change those of the caller.

    Args:
        config: the configuration to check.

    Raises:
        ConfigError: a parameter is not allowed. The error names it, and the namespace that is
            missing.
    """
    for name in config.sysctl:
        where = f"linux.sysctl[{name!r}]"
        # Dots separate the parts of a name. A slash in a part stands for a dot, as in eth0/1 for
        # the device eth0.1 (sysctl.d(5)). A part cannot be empty or consist of dots alone.
        if not all(part.strip("/") for part in name.split(".")):
            raise ConfigError(where, "it is not a name of a kernel parameter")
        kind = _namespace_of(where, name)
        if not config.namespaces.contains(kind):
            raise ConfigError(
                where,
                f'sysctl "{name}" is not allowed in the hosts {kind.oci_name} namespace: add '
                f'{{"type": "{kind.oci_name}"}} to linux.namespaces',
            )
        if _is_callers(config, kind):
            raise ConfigError(
                where,
                f'sysctl "{name}" not allowed in host {kind.oci_name} namespace: the one that is '
                "joined is the host's",
            )


def _namespace_of(where: str, name: str) -> NamespaceType:
    if name in _IPC or name.startswith("fs.mqueue."):
        return NamespaceType.NEWIPC
    if name.startswith("net."):
        return NamespaceType.NEWNET
    if name == _DOMAINNAME:
        return NamespaceType.NEWUTS
    if name == _HOSTNAME:
        raise ConfigError(
            where,
            f'sysctl "{name}" is not allowed as it conflicts with the OCI "hostname" field: '
            "use that",
        )
    raise ConfigError(where, f'sysctl "{name}" is not in a separate kernel namespace: leave it out')


def _is_callers(config: Config, kind: NamespaceType) -> bool:
    path = config.namespaces.path_of(kind)
    if not path:
        return False
    try:
        theirs, ours = os.stat(path), os.stat(f"/proc/self/ns/{kind.ns_name()}")
    except (OSError, ValueError):
        return False
    return os.path.samestat(theirs, ours)
