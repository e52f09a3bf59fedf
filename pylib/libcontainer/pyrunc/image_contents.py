# SPDX-License-Identifier: Apache-2.0
"""The modules in the memory image of a command, besides those of this package."""

from __future__ import annotations

__all__ = ["EXTENSIONS", "LEFT_OUT", "MODULES"]

# Modules that are imported within functions.
MODULES = (
    *(
        "nsenter._interpreter.image",
        "nsenter._interpreter.command",
        "nsenter._interpreter.image_files",
        "nsenter._inside.boot",
        "json",
        "traceback",
    ),
    "nsenter._interpreter.prebooted",
)
# Modules of the package that no command imports, or that make the image.
LEFT_OUT = frozenset(
    f"libcontainer.pyrunc.{name}"
    for name in ("__main__", "find", "start", "resume", "command_image")
)
# C extensions that are known to be inert: they start no thread, keep no descriptor, and have no
# random numbers.
EXTENSIONS = (
    *("_cffi_backend", "nsenter._nsexec", "_json", "_struct", "fcntl", "termios", "math"),
    *("select", "_socket", "_posixsubprocess", "_typing"),
)
