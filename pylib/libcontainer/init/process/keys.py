# SPDX-License-Identifier: Apache-2.0
"""The session keyring of a container (keyrings(7)): its own, not that of who started it."""

from __future__ import annotations

import errno

from libcontainer.init.process import labels
from nsenter._host.syscalls import Failure, keyctl

_JOIN_SESSION_KEYRING = 1
_SETPERM = 5
_DESCRIBE = 6
# Its possessor has every right from the beginning, but for changing them.
_USER_SEARCH = 0x00080000
_OTHER_SEARCH = 0x00000008
_DESCRIPTION_ROOM = 1024

_HINTS = {
    errno.EDQUOT: "too many keys: raise /proc/sys/kernel/keys/maxkeys, or give --no-new-keyring",
    errno.EPERM: "denied around this container: give --no-new-keyring",
}


def join_session_keyring(id: str, *, in_userns: bool = False, label: str = "") -> None:
    """Join the keyring "_ses.ID", or make it, so that those who come later find it.

    A kernel without keyrings is passed over. Other failures are not: what runs would have the
    keys of its caller.

    Args:
        id: of the container.
        in_userns: whether it has a user namespace, in which users come with other ids.
        label: SELinux's, for the keyring.

    Raises:
        Failure: it cannot be made, or joined.
    """
    with labels.KeyLabel(label):
        ring = _join(f"_ses.{id}")
    if ring is None:
        return
    permissions = _permissions(ring) | (_OTHER_SEARCH if in_userns else _USER_SEARCH)
    keyctl("keyctl set permissions", _SETPERM, ring, permissions)


def _join(name: str) -> int | None:
    try:
        return keyctl(f"join session keyring {name}", _JOIN_SESSION_KEYRING, name)
    except Failure as failure:
        if failure.errno == errno.ENOSYS:
            return None
        number = failure.errno or 0
        raise Failure("join session keyring", name, number, _HINTS.get(number, "")) from None


def _permissions(ring: int) -> int:
    """Return the description of a keyring: "type;uid;gid;perm;description"."""
    room = bytearray(_DESCRIPTION_ROOM)
    length = keyctl("keyctl describe", _DESCRIBE, ring, room, len(room))
    fields = bytes(room[: length - 1]).split(b";")
    return int(fields[3], 16)
