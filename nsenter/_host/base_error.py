# SPDX-License-Identifier: Apache-2.0
"""The base of all our exceptions. It imports nothing, because every process that
`nsenter._host.syscalls` is imported in has it."""

__all__ = ["NsenterError"]


class NsenterError(Exception):
    """The base of every exception class of this package and of libcontainer.

    Each is also of the builtin class that fits, so that `except OSError` and the like go on
    catching it.
    """
