# SPDX-License-Identifier: Apache-2.0
"""Read "linux.devices": the device files of a container, and which devices its cgroup may use."""

from __future__ import annotations

import os

from libcontainer.configs import Device, DeviceRule
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import check_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# The nodes that every container gets; what the file says of the same path replaces them.
DEFAULT_DEVICES = tuple(
    Device(path, "c", major, minor)
    for path, major, minor in (
        ("/dev/null", 1, 3),
        ("/dev/random", 1, 8),
        ("/dev/full", 1, 7),
        ("/dev/tty", 5, 0),
        ("/dev/zero", 1, 5),
        ("/dev/urandom", 1, 9),
    )
)
# Allowed whatever the file says, as with runc: to make any node, and terminals. A console is one
# of /dev/pts.
_MAKE_NODES = (DeviceRule("c", -1, -1, "m", True), DeviceRule("b", -1, -1, "m", True))
_TERMINALS = (DeviceRule("c", 136, -1, "rwm", True), DeviceRule("c", 5, 2, "rwm", True))
_DEFAULT_RULES = {
    device.path: DeviceRule(device.type, device.major, device.minor, "rwm", True)
    for device in DEFAULT_DEVICES
}
DENY_ALL = DeviceRule("a", -1, -1, "rwm", False)

# These the init makes, after the others.
_MADE_LATER = ("/dev/console", "/dev/ptmx", "/dev/pts/ptmx")
_KINDS = ("c", "b", "u", "p")
_PERMISSION_BITS = 0o7777
_MOST_MAJOR = 2**12 - 1  # the kernel's (linux/kdev_t.h)
_MOST_MINOR = 2**20 - 1


def devices_from_spec(linux: Reader) -> tuple[Device, ...]:
    """Return the device files to create: the default ones, and those of "linux.devices".

    A device of the document replaces a default one with the same path.
    """
    found = {device.path: device for device in DEFAULT_DEVICES}
    for item in linux.objects("devices"):
        device = _device(item)
        if device.path not in _MADE_LATER:
            found.pop(device.path, None)
            found[device.path] = device
    return tuple(found.values())


def always_allowed(devices: tuple[Device, ...]) -> tuple[DeviceRule, ...]:
    """Return the rules for devices that a container may use whatever the document says.

    A default device that the document has replaced is not among them.

    Args:
        devices: the devices of the container.
    """
    kept = (
        _DEFAULT_RULES[device.path]
        for device in DEFAULT_DEVICES
        if any(device is d for d in devices)
    )
    return (*_MAKE_NODES, *kept, *_TERMINALS)


def _device(item: Reader) -> Device:
    given = item.absolute_path("path")
    path = os.path.normpath(f"/{given.lstrip('/')}")  # runc takes "/dev/fuse/", too
    kind = check_word(item.at("type"), item.needed_text("type"), _KINDS)
    if path == "/":
        raise ConfigError(item.at("path"), f"{given!r} must be a path below the root")
    mode = item.optional_number("fileMode", most=2**32 - 1)
    return Device(
        path=path,
        type=kind,
        major=item.number("major", most=_MOST_MAJOR),
        minor=item.number("minor", most=_MOST_MINOR),
        # With the kind of file in it, as stat(2) tells it, or without.
        file_mode=0o666 if mode is None else mode & _PERMISSION_BITS,
        uid=item.id("uid"),
        gid=item.id("gid"),
    )
