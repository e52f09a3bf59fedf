# SPDX-License-Identifier: Apache-2.0
"""Let another process make pyrunc's memory images for the next commands."""

from __future__ import annotations

import os
import sys

from nsenter._host.suppress import suppress
from nsenter._interpreter import image

__all__ = ["make_later", "name_of"]

_HASH_START, _HASH_FACTOR = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a
_CODE = (
    "import sys; sys.path[:] = sys.argv[3:]; "
    "import libcontainer.pyrunc.command_image as m; m.detached()"
)


def name_of(script: str) -> str:
    """Return the name of the image, by the rule of csrc/interpreter/command_image.c.

    Args:
        script: the path of pyrunc-start.
    """
    value = _HASH_START
    for byte in os.fsencode(script):
        value = (value ^ byte) * _HASH_FACTOR & 0xFFFFFFFFFFFFFFFF
    return f"pyrunc-{value:016x}.image"


def make_later(script: str) -> None:
    """Start a process that makes the images, as `make_later` of nsenter's `image` does."""
    if image.reason_against() or image.reason_against_making():
        return
    if not image.failure_of(name_of(script)):
        runtime = os.environ.get("XDG_RUNTIME_DIR", "")
        with suppress(OSError):
            image.start_maker(sys.executable, _CODE, [script, runtime, *sys.path])
