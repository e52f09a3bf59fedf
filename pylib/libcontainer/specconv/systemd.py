# SPDX-License-Identifier: Apache-2.0
"""Read what only the systemd driver uses: "slice:prefix:name", and properties in annotations."""

from __future__ import annotations

from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

_PREFIX = "org.systemd.property."
_SHORTEST_NAME = 3
_MICROSECONDS = 10**6
_NUMBERS = ("byte", "int16", "uint16", "int32", "uint32", "int64", "uint64", "double")


def check_unit(where: str, path: str) -> None:
    """Refuse a path that does not name a unit.

    For an empty path the driver chooses a name.
    """
    if not path:
        return
    parts = path.split(":")
    if len(parts) != 3 or not parts[2]:
        raise ConfigError(
            where,
            f"{path!r} is not of the form slice:prefix:name, which --systemd-cgroup asks for, "
            "such as system.slice:pyrunc:web",
        )
    if any("/" in part for part in parts):
        raise ConfigError(where, f"{path!r} has a slash, which no unit's name has")
    slice = parts[0]
    if slice and (not slice.endswith(".slice") or _is_malformed(slice.removesuffix(".slice"))):
        raise ConfigError(where, f"{slice!r} is not a slice such as system.slice")


def _is_malformed(name: str) -> bool:
    """Return whether the name of a slice is malformed (systemd.slice(5)).

    "a-b" is valid. A name without letters, or with an empty part between dashes, is not.
    """
    return name != "-" and not all(name.split("-"))


def unit_properties(spec: Reader) -> dict[str, str]:
    """Return the properties in annotations "org.systemd.property.NAME".

    Their values are in GVariant's text form. systemd documents times with a name that ends in "Sec"
    and sets them by one that ends in "USec". The former is converted into the latter.
    """
    found: dict[str, str] = {}
    for annotation, value in spec.text_map("annotations").items():
        if not annotation.startswith(_PREFIX):
            continue
        where = f"annotations[{annotation!r}]"
        name = annotation.removeprefix(_PREFIX)
        if len(name) < _SHORTEST_NAME or not (name.isascii() and name.isalpha()):
            raise ConfigError(where, f"{name!r} names no property: three letters at least")
        stem = name.removesuffix("Sec")
        if stem != name and stem[-1:].islower():
            name, value = f"{stem}USec", _microseconds(where, value)
        found[name] = value
    return found


def _microseconds(where: str, value: str) -> str:
    """Return the microseconds for a value in seconds: "5", "uint64 5" or "1.5"."""
    kind, _, number = value.rpartition(" ")
    try:
        if kind and kind not in _NUMBERS:
            raise ValueError
        amount = (
            int(float(number) * _MICROSECONDS) if "." in number else int(number) * _MICROSECONDS
        )
    except (ValueError, OverflowError):
        raise ConfigError(where, f"{value!r} is not a number of seconds") from None
    return f"uint64 {amount}"
