# SPDX-License-Identifier: Apache-2.0
"""Read lists of id mappings, of the container or of a mount."""

from __future__ import annotations

from libcontainer.configs import IDMap
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import UINT32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader


def mappings(spec: Reader, name: str) -> tuple[IDMap, ...]:
    """Return the mappings of a list of objects with containerID, hostID and size."""
    return tuple(_mapping(item) for item in spec.objects(name))


def _mapping(item: Reader) -> IDMap:
    ids = [item.number(name, most=UINT32) for name in ("containerID", "hostID", "size")]
    try:
        return IDMap(*ids)
    except ValueError as error:
        raise ConfigError(item.where, str(error)) from None
