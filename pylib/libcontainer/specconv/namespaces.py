# SPDX-License-Identifier: Apache-2.0
"""Read "linux.namespaces" and "linux.timeOffsets" (config-linux.md)."""

from __future__ import annotations

from libcontainer.configs import Namespace, Namespaces, TimeOffset
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import INT64
from nsenter.namespaces import namespace_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# The specification's words alone: "mnt" and "NEWNS" are other people's.
KINDS = {kind.oci_name: kind for kind in namespace_types()}
_CLOCKS = ("monotonic", "boottime")
_NANOSECONDS = 10**9


def namespaces_from_spec(linux: Reader) -> Namespaces:
    """Return the namespaces in the order of the document; refuse a type that is listed twice."""
    found: dict[str, Namespace] = {}
    for item in linux.objects("namespaces"):
        kind = item.choice("type", KINDS)
        if kind in found:
            raise ConfigError(item.at("type"), f"{kind.oci_name!r} is given twice")
        try:
            found[kind] = Namespace(kind, item.text("path"))
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(item.at("path"), str(error)) from None
    return Namespaces(found.values())


def time_offsets_from_spec(linux: Reader) -> tuple[TimeOffset, ...]:
    """Return the offsets of the clocks in a new time namespace."""
    return tuple(_offset(clock, item) for clock, item in linux.members("timeOffsets"))


def _offset(clock: str, item: Reader) -> TimeOffset:
    if clock not in _CLOCKS:
        raise ConfigError(item.where, f"unknown clock: {' and '.join(_CLOCKS)} have one")
    nanoseconds = item.number("nanosecs", most=_NANOSECONDS - 1)
    return TimeOffset(clock, item.number("secs", least=-INT64 - 1), nanoseconds)
