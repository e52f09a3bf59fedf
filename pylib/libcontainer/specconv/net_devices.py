# SPDX-License-Identifier: Apache-2.0
"""OCI's "linux.netDevices" (config-linux.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader


def net_devices_from_spec(linux: Reader) -> dict[str, str]:
    """The name that each device has in the container, by the one that it has here."""
    return {name: item.text("name") or name for name, item in linux.members("netDevices")}
