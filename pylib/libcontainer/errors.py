# SPDX-License-Identifier: Apache-2.0
"""The errors of containers. Each says what is wrong and, if known, what to do next."""

from __future__ import annotations

from nsenter._host.base_error import NsenterError

__all__ = ["ConfigError", "ContainerError", "ContainerNotFoundError"]


class ConfigError(NsenterError, ValueError):
    """A configuration is not valid. Nothing has been changed.

    Attributes:
        path: the place in config.json, such as "linux.uidMappings" or "mounts[3].options".
        reason: what is wrong there, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ContainerError(NsenterError):
    """The state of a container does not allow an operation.

    For example, the container does not exist, exists already, or is running.
    """


class ContainerNotFoundError(ContainerError):
    """There is no container with this id, or it has been deleted."""
