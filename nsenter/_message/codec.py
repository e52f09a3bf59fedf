# SPDX-License-Identifier: Apache-2.0
"""Encode messages as bytes: a thin layer over csrc/message/wire.c.

`nsenter._message.raw` does the same for people who examine messages.
"""

from __future__ import annotations

from nsenter._nsexec import ffi, lib
from nsenter.errors import MessageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from _cffi_backend import _CDataBase

__all__ = ["BOOTSTRAP", "LAUNCH", "attribute_name", "attribute_types", "encode", "raise_refused"]

BOOTSTRAP = lib.bootstrap_wire()
LAUNCH = lib.launch_wire()


def attribute_name(type: int, message: Any = BOOTSTRAP) -> str:
    """Return runc's name of an attribute type; "unknown attribute" if it has none."""
    spec = lib.wire_spec(message, type) if 0 <= type < 2**16 else ffi.NULL
    return ffi.string(spec.name).decode() if spec else "unknown attribute"


def attribute_types(message: Any) -> dict[str, int]:
    """Return the attribute types of a kind of message by their names."""
    first = message.first_attr
    types = range(first, first + message.attr_count)
    return {attribute_name(type, message): type for type in types}


def raise_refused(err: Any, message: Any = BOOTSTRAP, *, encoding: bool = False) -> NoReturn:
    """Raise what a struct wire_error says."""
    raise MessageError(
        ffi.string(err.reason).decode(),
        attribute=err.attr or None,
        name=attribute_name(err.attr, message) if err.attr else "message header",
        offset=None if encoding else err.offset,
    )


def encode(attributes: Iterable[tuple[int, int | bytes]], message: Any = BOOTSTRAP) -> bytes:
    """Return the bytes of a message of `(type, value)` attributes, in their order.

    Raises:
        MessageError: a type is not the message's, or a value is too long for its u16 length.
    """
    attributes = list(attributes)
    attrs = ffi.new("struct wire_attr[]", len(attributes))
    buffers: list[_CDataBase] = []  # what the structs point to, kept until they are read
    for attr, (type, value) in zip(attrs, attributes, strict=True):
        attr.type = type
        if isinstance(value, int):
            attr.number = value
            continue
        buffers.append(ffi.from_buffer("char[]", value))
        attr.text.data = buffers[-1]
        attr.text.len = len(value)
    err = ffi.new("struct wire_error *")
    size = lib.wire_encode(message, attrs, len(attributes), ffi.NULL, 0, err)
    if not size:
        raise_refused(err, message, encoding=True)
    out = ffi.new("uint8_t[]", size)
    if lib.wire_encode(message, attrs, len(attributes), out, size, err) != size:
        raise_refused(err, message, encoding=True)
    return bytes(ffi.buffer(out))
