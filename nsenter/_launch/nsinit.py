# SPDX-License-Identifier: Apache-2.0
"""nsinit, the static program that goes through the stages: its path, and a sealed copy of it."""

from __future__ import annotations

import os

from nsenter._interpreter.sealed_memory import CachedDescriptor, sealed_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["nsinit_fd", "nsinit_path"]

_NSINIT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "nsinit")


def nsinit_path() -> Path:
    """The static program that goes through the stages and executes another.

    It can be started in the place of ``runc init`` by whatever speaks its protocol.
    """
    from pathlib import Path  # 5 ms to import, which a launch does not have

    return Path(_NSINIT)


def _nsinit_bytes() -> bytes:
    with open(_NSINIT, "rb") as file:
        return file.read()


# A container that gets at its own executable through /proc/self/exe has nothing that it could
# overwrite (CVE-2019-5736).
_nsinit = CachedDescriptor(
    lambda: sealed_memfd("nsinit", _nsinit_bytes(), executable=True),
)


def nsinit_fd() -> int:
    """A descriptor of a sealed copy of nsinit, which stays open."""
    return _nsinit.get()
