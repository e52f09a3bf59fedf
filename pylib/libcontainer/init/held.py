# SPDX-License-Identifier: Apache-2.0
"""What the memory image of the init holds (see nsenter/image.py): all that it may import.

It is used by nobody but the runtime: what a container or a function of a caller's runs has another
image, from which it learns nothing of this one.
"""

from __future__ import annotations

__all__ = ["EXTENSIONS", "IMAGE", "MODULES", "TRIAL"]

IMAGE = "libcontainer.init"
MODULES = ("nsenter.boot", "nsenter.waiting", "libcontainer.init.main")
EXTENSIONS = ("_cffi_backend", "nsenter._nsexec")
# What the maker tries: a target, its arguments, and its status if no orders come.
TRIAL = ("libcontainer.init.main:main", ({"type": "standard"},), 1)
