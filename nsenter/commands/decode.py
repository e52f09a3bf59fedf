# SPDX-License-Identifier: Apache-2.0
"""Explain a bootstrap message, attribute by attribute, and say what is wrong with a bad one.

A message that consists of hexadecimal digits is taken for text of them. The exit status is 1 if
nsexec would refuse the message.
"""

from __future__ import annotations

import json
import re

from nsenter._message.as_json import to_document
from nsenter._message.codec import attribute_name
from nsenter._message.raw import Attribute, scan_attributes
from nsenter.bootstrap import CLONE_FLAGS, BootstrapData, MessageError
from nsenter.commands import complain, read, read_file
from nsenter.commands.table import Option
from nsenter.namespaces import namespace_types

_HEX = re.compile(rb"[0-9a-fA-F\s]+")
REFUSED = 1
_OPTIONS = (Option(("--json",), "", "print JSON that `encode` takes", "json"),)


def _explain_value(attribute: Attribute) -> str:
    value = attribute.value
    if attribute.type == CLONE_FLAGS and isinstance(value, int):
        kinds = [k.ns_name() for k in namespace_types() if value & k.clone_flag]
        return f"{value:#010x}  new: {', '.join(kinds) or 'none'}"
    if isinstance(value, bytes):
        return repr(value.decode(errors="backslashreplace"))
    return str(value)


def explain(blob: bytes) -> None:
    """Print the attributes of a message, one a line, as far as they can be read."""
    print(f"{len(blob)} bytes: a header of 16, then")
    attributes, _ = scan_attributes(blob)
    for offset, attribute in attributes:
        name = f"{attribute_name(attribute.type)} ({attribute.type})"
        print(f"{offset:6}  {name:22} {attribute.kind:6} {_explain_value(attribute)}")


def main(words: list[str]) -> int:
    """Print the explanation; 1 where the message is refused."""
    given = read("decode", __doc__, _OPTIONS, words, "[FILE]")
    if given is None:
        return 0
    as_json = bool(given.all("json"))
    _, blob = read_file(given)
    if _HEX.fullmatch(blob):
        blob = bytes.fromhex(blob.decode())
    try:
        data = BootstrapData.decode(blob)
    except MessageError as error:
        if not as_json:
            explain(blob)
        complain(f"refused: {error}")
        return REFUSED
    if as_json:
        print(json.dumps(to_document(data), indent=2))
    else:
        explain(blob)
    return 0
