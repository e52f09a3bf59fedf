# SPDX-License-Identifier: Apache-2.0
"""The base of all exceptions of this package.

This module imports nothing: every process that imports `nsenter._host.syscalls` pays for it.
"""

__all__ = ["NsenterError"]


class NsenterError(Exception):
    """The base of every exception class of this package and of libcontainer.

    Each is also of the builtin class that fits, so that `except OSError` and the like go on
    catching it.
    """
