# SPDX-License-Identifier: Apache-2.0
"""Lists of id mappings, of the container or of a mount."""

from __future__ import annotations

from libcontainer.configs import IDMap
from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader


def mappings(spec: Reader, name: str) -> tuple[IDMap, ...]:
    """A list of containerID, hostID, size."""
    found = []
    for item in spec.objects(name):
        try:
            found.append(
                IDMap(item.number("containerID"), item.number("hostID"), item.number("size"))
            )
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(item.where, str(error)) from None
    return tuple(found)
