# SPDX-License-Identifier: Apache-2.0
"""A bootstrap message as JSON, in the words of the OCI runtime specification."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nsenter.bootstrap import BootstrapData, TimeOffset
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, Namespaces, namespace_types

__all__ = ["from_document", "to_document"]

# JSON key → (field of BootstrapData, the type it must have).
_PLAIN: dict[str, tuple[str, type]] = {
    "uidmapPath": ("uidmap_path", str),
    "gidmapPath": ("gidmap_path", str),
    "setgroup": ("setgroup", bool),
    "oomScoreAdj": ("oom_score_adj", int),
    "rootlessEUID": ("rootless_euid", bool),
}
_WORDS: dict[type, str] = {str: "a string", bool: "true or false", int: "a whole number"}
_MAPPINGS = {"uidMappings": "uid_mappings", "gidMappings": "gid_mappings"}
_KEYS = {"namespaces", "timeOffsets", *_PLAIN, *_MAPPINGS}


def to_document(data: BootstrapData) -> dict[str, Any]:
    """What json.dumps takes. `from_document` gives the same message back."""
    new = [Namespace(kind) for kind in namespace_types() if data.clone_flags & kind.clone_flag]
    document: dict[str, Any] = {
        "namespaces": Namespaces([*new, *data.namespace_paths]).to_oci(),
        **{
            key: [
                {"containerID": m.container_id, "hostID": m.host_id, "size": m.size} for m in maps
            ]
            for key, field in _MAPPINGS.items()
            if (maps := getattr(data, field))
        },
        **{key: getattr(data, field) for key, (field, _) in _PLAIN.items()},
        "timeOffsets": {o.clock: {"secs": o.secs, "nanosecs": o.nsecs} for o in data.time_offsets},
    }
    return {key: value for key, value in document.items() if value not in (None, {}, [])}


def _value(container: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    value = container.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{where}{key} must be {_WORDS[kind]}, not {value!r}")
    return value


def _mappings(values: Any, where: str) -> tuple[IDMap, ...]:
    if not isinstance(values, list):
        raise ValueError(f"{where} must be a list, not {values!r}")
    return tuple(_mapping(value, f"{where}[{i}]") for i, value in enumerate(values))


def _mapping(value: Any, where: str) -> IDMap:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {value!r}")
    keys = ("containerID", "hostID", "size")
    numbers = [_value(value, key, int, f"{where}.") for key in keys]
    try:
        return IDMap(*numbers)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _offset(clock: str, value: Any) -> TimeOffset:
    where = f"timeOffsets.{clock}"
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object, not {value!r}")
    return TimeOffset(
        clock,
        _value(value, "secs", int, f"{where}.") if "secs" in value else 0,
        _value(value, "nanosecs", int, f"{where}.") if "nanosecs" in value else 0,
    )


def from_document(document: Any) -> BootstrapData:
    """The message that a JSON document describes.

    Args:
        document: what json.loads gave: ``namespaces`` (without a path: to create), ``uidMappings``
            and ``gidMappings``, ``timeOffsets`` as in config.json; ``uidmapPath``,
            ``gidmapPath``, ``setgroup``, ``oomScoreAdj``, ``rootlessEUID``.

    Raises:
        ValueError: a key is unknown or a value bad; names its path.
    """
    if not isinstance(document, dict):
        raise ValueError(f"the document must be an object, not {document!r}")
    unknown = sorted(document.keys() - _KEYS)
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown key; known are {', '.join(sorted(_KEYS))}")
    namespaces = Namespaces.from_json(document.get("namespaces"))
    offsets = document.get("timeOffsets", {})
    if not isinstance(offsets, dict):
        raise ValueError(f"timeOffsets must be an object, not {offsets!r}")
    fields: dict[str, Any] = {
        field: _value(document, key, kind, "")
        for key, (field, kind) in _PLAIN.items()
        if key in document
    }
    for key, field in _MAPPINGS.items():
        if key in document:
            fields[field] = _mappings(document[key], key)
    return BootstrapData(
        clone_flags=namespaces.clone_flags(),
        namespace_paths=tuple(ns for ns in namespaces if not ns.is_new),
        time_offsets=tuple(_offset(clock, value) for clock, value in offsets.items()),
        **fields,
    )
