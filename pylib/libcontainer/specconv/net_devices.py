# SPDX-License-Identifier: Apache-2.0
"""Read "linux.netDevices" (config-linux.md)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader


def net_devices_from_spec(linux: Reader) -> dict[str, str]:
    """Return the network devices to move: name on the host to name in the container."""
    return {name: item.text("name") or name for name, item in linux.members("netDevices")}
