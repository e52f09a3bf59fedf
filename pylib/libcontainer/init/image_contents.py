# SPDX-License-Identifier: Apache-2.0
"""The modules in the memory image of the init: all that it may import.

nsenter/_interpreter/image.py reads these names.

Only the runtime uses this image. Containers and the functions of callers never do, so they cannot
learn from their own memory how the init's looks.
"""

from __future__ import annotations

__all__ = ["EXTENSIONS", "IMAGE", "MODULES", "TRIAL"]

IMAGE = "libcontainer.init"
MODULES = ("nsenter._inside.boot", "nsenter._interpreter.prebooted", "libcontainer.init.main")
EXTENSIONS = ("_cffi_backend", "nsenter._nsexec")
# The trial of a new image: a target, its arguments, and its exit status if no init config comes.
TRIAL = ("libcontainer.init.main:main", ({"type": "standard"},), 1)
