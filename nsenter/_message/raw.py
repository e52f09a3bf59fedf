# SPDX-License-Identifier: Apache-2.0
"""A bootstrap message as a list of attributes: the raw level, below what they mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from nsenter._message.codec import BOOTSTRAP, attribute_name, encode, raise_refused
from nsenter._nsexec import ffi, lib
from nsenter.errors import MessageError

__all__ = ["Attribute", "decode_attributes", "encode_attributes", "scan_attributes"]

Kind = Literal["int32", "bool", "bytes"]

# In the order of enum wire_kind.
_KINDS: tuple[Kind, ...] = ("int32", "bool", "bytes")
_HEADER_SIZE = 16
_INT32_MAX = 2**32 - 1


class Attribute(NamedTuple):
    """One attribute of a message.

    Args:
        type: its number, 27281 … 27290 in a bootstrap message.
        kind: "int32" and "bool" travel as a u32, "bytes" with a NUL behind them.
        value: an int of 32 bits, a bool, or bytes.
    """

    type: int
    kind: Kind
    value: int | bool | bytes


def _checked_value(attribute: Attribute) -> int | bytes:
    type, kind, value = attribute
    spec = lib.wire_spec(BOOTSTRAP, type) if 0 <= type < 2**16 else ffi.NULL
    if not spec:
        raise MessageError("the type is not known", attribute=type, name="attribute", offset=None)
    fits = {
        "int32": isinstance(value, int) and 0 <= value <= _INT32_MAX,
        "bool": isinstance(value, int) and 0 <= value <= 1,
        "bytes": isinstance(value, bytes),
    }
    if kind != _KINDS[spec.kind] or not fits[kind]:
        raise MessageError(
            f"{value!r} as {kind}: the attribute takes {_KINDS[spec.kind]}",
            attribute=type,
            name=attribute_name(type),
            offset=None,
        )
    assert isinstance(value, (int, bytes))
    return value


def encode_attributes(attributes: Iterable[Attribute]) -> bytes:
    """Encode a bootstrap message attribute by attribute, whatever it means.

    Raises:
        MessageError: a type is unknown, a value is not of its kind, or is over 65530 bytes.
    """
    return encode((a.type, _checked_value(a)) for a in map(Attribute._make, attributes))


def scan_attributes(blob: bytes) -> tuple[list[tuple[int, Attribute]], MessageError | None]:
    """The attributes of a message up to its end or the first bad one, each with its offset."""
    data = ffi.from_buffer("uint8_t[]", blob)
    err, size = ffi.new("struct wire_error *"), ffi.new("uint32_t *")
    found: list[tuple[int, Attribute]] = []
    try:
        if len(blob) < _HEADER_SIZE:
            raise MessageError(
                "the message ends inside its header",
                attribute=None, name="message header", offset=len(blob),
            )  # fmt: skip
        if not lib.wire_header(BOOTSTRAP, data, size, err):
            raise_refused(err)
        offset, attr = ffi.new("uint32_t *", _HEADER_SIZE), ffi.new("struct wire_attr *")
        while lib.wire_next(BOOTSTRAP, data, len(blob), offset, attr, err):
            found.append((attr.offset, _attribute(attr)))
        if err.reason:
            raise_refused(err)
    except MessageError as error:
        return found, error
    return found, None


def _attribute(attr: Any) -> Attribute:
    kind = _KINDS[lib.wire_spec(BOOTSTRAP, attr.type).kind]
    if kind == "bytes":
        return Attribute(attr.type, kind, bytes(ffi.buffer(attr.text.data, attr.text.len)))
    return Attribute(attr.type, kind, bool(attr.number) if kind == "bool" else attr.number)


def decode_attributes(blob: bytes) -> list[Attribute]:
    """The attributes of a bootstrap message, in their order, whatever they mean.

    Raises:
        MessageError: the message is not well formed, or has an attribute twice.
    """
    data, err = ffi.from_buffer("uint8_t[]", blob), ffi.new("struct wire_error *")
    slots = ffi.new("struct wire_attr[]", lib.BOOTSTRAP_ATTR_COUNT)
    if not lib.wire_parse(BOOTSTRAP, data, len(blob), slots, err):
        raise_refused(err)
    present = sorted((a for a in slots if a.present), key=lambda a: int(a.offset))
    return [_attribute(a) for a in present]
