# SPDX-License-Identifier: Apache-2.0
"""The session keyring of a container (keyrings(7)): its own, not that of who started it."""

from __future__ import annotations

import errno

from nsenter.system import Failure, keyctl

_JOIN_SESSION_KEYRING = 1
_SETPERM = 5
_DESCRIBE = 6
_KEY_USER_SEARCH = 0x00080000
_POSSESSOR_VIEW_SEARCH = 0x09000000
_DESCRIPTION_ROOM = 1024


def join_session_keyring(id: str) -> None:
    """Join the keyring "_ses.ID", or make it. Its user and possessor may search it.

    A kernel without keyrings, and a seccomp filter around us that denies them, are passed over.
    """
    try:
        ring = keyctl("join session keyring", _JOIN_SESSION_KEYRING, f"_ses.{id}")
        keyctl("set permissions", _SETPERM, ring, _permissions(ring))
    except Failure as failure:
        if failure.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def _permissions(ring: int) -> int:
    """What they are, with search for the user. "type;uid;gid;perm;description"."""
    room = bytearray(_DESCRIPTION_ROOM)
    length = keyctl("describe", _DESCRIBE, ring, room, len(room))
    fields = bytes(room[: length - 1]).split(b";")
    return int(fields[3], 16) | _KEY_USER_SEARCH | _POSSESSOR_VIEW_SEARCH
