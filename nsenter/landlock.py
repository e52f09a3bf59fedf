# SPDX-License-Identifier: Apache-2.0
"""What of the file system a process may use, beyond what its ids allow (landlock(7))."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["encode"]

_RIGHTS = "rwx"


def encode(rules: Mapping[str, str]) -> bytes:
    """The rules as csrc/records.h has them: two strings each.

    Raises:
        ValueError: a path is not absolute, or the rights are not letters of "rwx".
    """
    fields: list[bytes] = []
    for path, rights in rules.items():
        raw = os.fsencode(path)
        if not raw.startswith(b"/") or b"\0" in raw:
            raise ValueError(f"landlock: {path!r}: must be an absolute path without NUL")
        if not rights or set(rights) - set(_RIGHTS) or len(set(rights)) != len(rights):
            raise ValueError(f"landlock: {path!r}: rights {rights!r}: must be letters of {_RIGHTS}")
        fields += raw, rights.encode()
    return b"".join(field + b"\0" for field in fields)
