# SPDX-License-Identifier: Apache-2.0
"""Find names in config.json that are spelt with the wrong upper or lower case letters.

According to the specification, unknown names are ignored. But runc's JSON decoder, which is Go's,
does not distinguish upper and lower case, so "nonewprivileges" has a meaning there. To ignore it
would silently remove a restriction. So such names are read as runc reads them, and reported.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["NAMES", "respelt"]

NAMES = frozenset(
    """
    access action additionalGids allow ambient annotations apparmorProfile architectures args
    blockIO boottime bounding burst capabilities cgroupsPath checkBeforeUpdate class classID
    closID consoleSize containerID cpu cpus createContainer createRuntime cwd deadline
    defaultAction defaultErrnoRet destination devices disableOOMKiller domain domainname effective
    enableMonitoring env errnoRet execCPUAffinity fileMode final flags gid gidMappings hard
    hcaHandles hcaObjects height hooks hostID hostname hugepageLimits idle index inheritable
    initial intelRdt ioPriority kernel kernelTCP l3CacheSchema leafWeight limit linux
    listenerMetadata listenerPath major maskedPaths memBwSchema memory memoryPolicy mems minor mode
    monotonic mountLabel mounts name names namespaces nanosecs netDevices network nice
    noNewPrivileges nodes ociVersion oomScoreAdj op options pageSize path period permitted
    personality pids policy poststart poststop prestart priorities priority process quota rate
    rdma readonly readonlyPaths realtimePeriod realtimeRuntime reservation resources rlimits root
    rootfsPropagation runtime scheduler schemata seccomp secs selinuxLabel shares size soft source
    startContainer swap swappiness syscalls sysctl terminal throttleReadBpsDevice
    throttleReadIOPSDevice throttleWriteBpsDevice throttleWriteIOPSDevice timeOffsets timeout type
    uid uidMappings umask unified useHierarchy user username value valueTwo weight weightDevice
    width
    """.split()
)
# The names in these are the user's own.
_MAPS = frozenset(("annotations", "sysctl", "unified"))
_MAPS_OF_OBJECTS = frozenset(("rdma", "netDevices"))
_USERS = _MAPS | _MAPS_OF_OBJECTS


def respelt(value: Any) -> tuple[Any, list[str]]:
    """Return the document with the specification's names, and the names that were corrected.

    Args:
        value: a parsed config.json, or a part of it.
    """
    notes: list[str] = []
    return (value if _is_right(value) else _respelt(value, "", notes)), notes


def _is_right(value: Any) -> bool:
    """Return whether no name has to be corrected, which is the usual case."""
    if type(value) is list:
        return all(map(_is_right, value))
    if type(value) is not dict:
        return True
    return NAMES.issuperset(value) and all(
        _is_right(item) for name, item in value.items() if name not in _USERS
    )


def _respelt(value: Any, where: str, notes: list[str]) -> Any:
    if type(value) is list:
        return [_respelt(item, f"{where}[{i}]", notes) for i, item in enumerate(value)]
    if type(value) is not dict:
        return value
    names = value if NAMES.issuperset(value) else _renamed(value, where, notes)
    return {name: _member(name, item, _at(where, name), notes) for name, item in names.items()}


def _member(name: str, value: Any, where: str, notes: list[str]) -> Any:
    if name in _MAPS or name not in NAMES:
        return value
    if name in _MAPS_OF_OBJECTS and type(value) is dict:
        return {k: _respelt(item, _at(where, k), notes) for k, item in value.items()}
    return _respelt(value, where, notes)


def _renamed(value: dict[str, Any], where: str, notes: list[str]) -> dict[str, Any]:
    by_lower = {name.lower(): name for name in NAMES}
    found: dict[str, Any] = {}
    for name, item in value.items():
        right = name if name in NAMES else by_lower.get(name.lower(), name)
        if right == name:
            found[name] = item
        elif right in value or right in found:
            notes.append(f"{_at(where, name)} is ignored: {_at(where, right)} is there too")
        else:
            notes.append(f"{_at(where, name)} is read as {_at(where, right)}: spell it so")
            found[right] = item
    return found


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
