# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a container, said so that a person knows what to do next."""

from __future__ import annotations

from nsenter._host.base_error import NsenterError

__all__ = ["ConfigError", "ContainerError", "ContainerNotFoundError"]


class ConfigError(NsenterError, ValueError):
    """A configuration that is refused, before anything was changed.

    Attributes:
        path: where in config.json, such as "linux.uidMappings" or "mounts[3].options".
        reason: what is wrong with it, and what to do.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ContainerError(NsenterError):
    """A container cannot do what is asked of it: it does not exist, exists already, is running."""


class ContainerNotFoundError(ContainerError):
    """There is no container of this id, or not any more."""
