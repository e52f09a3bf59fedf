# SPDX-License-Identifier: Apache-2.0
"""The names of capabilities (capabilities(7)), in the order of their numbers."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["NAMES", "NUMBERS", "encode", "full_name"]

_PREFIX = "CAP_"

# linux/capability.h.
NAMES = tuple(
    f"{_PREFIX}{name}"
    for name in (
        "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP "
        "LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER "
        "SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
        "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP "
        "MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF "
        "CHECKPOINT_RESTORE"
    ).split()
)
NUMBERS = {name: number for number, name in enumerate(NAMES)}


def full_name(name: str) -> str:
    """With CAP_, in capitals."""
    return _PREFIX + name.upper().removeprefix(_PREFIX)


def encode(names: Iterable[str]) -> bytes:
    """`number:NAME,…`: the numbers are for the kernel, the names for who reads an error.

    Args:
        names: with or without CAP_, in any case.

    Raises:
        ValueError: a name is unknown.
    """
    if isinstance(names, str):
        raise TypeError(f"capabilities must be a sequence of names, not {names!r}")
    found = {full_name(name): name for name in names}
    for full, name in found.items():
        if full not in NUMBERS:
            raise ValueError(f"capabilities: {name!r} is not a capability; see capabilities(7)")
    numbers = sorted(NUMBERS[full] for full in found)
    return ",".join(f"{number}:{NAMES[number]}" for number in numbers).encode()
