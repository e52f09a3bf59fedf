# SPDX-License-Identifier: Apache-2.0
"""The AppArmor profile that allows this Python to create user namespaces, as Ubuntu requires."""

from __future__ import annotations

import os
import re
import sys

__all__ = ["HOW_TO_LOAD", "profile"]

_PROFILE = """\
abi <abi/4.0>,
include <tunables/global>

profile nsenter "{path}" flags=(unconfined) {{
  userns,
  include if exists <local/nsenter>
}}
"""
HOW_TO_LOAD = (
    "save this as /etc/apparmor.d/nsenter and load it with `apparmor_parser -r "
    "/etc/apparmor.d/nsenter`; then every script that this Python runs can create user namespaces"
)


def profile(executable: str = sys.executable) -> str:
    """Return the text of the profile for an interpreter. AppArmor 4.0 or newer reads it.

    It restricts nothing else ("unconfined"). AppArmor compares the path that symbolic links lead
    to, and what the interpreter executes from memory has the same profile.
    """
    path = os.path.realpath(executable)
    return _PROFILE.format(path=re.sub(r'([\\"*?\[\]{}^@])', r"\\\1", path))
