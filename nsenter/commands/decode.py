# SPDX-License-Identifier: Apache-2.0
"""Explain a bootstrap message, attribute by attribute, and say what is wrong with a bad one.

A message that consists of hexadecimal digits is taken for text of them. The exit status is 1
where nsexec would refuse the message.
"""

from __future__ import annotations

import argparse
import json
import re
import sys

from nsenter.attributes import Attribute, scan_attributes
from nsenter.bootstrap import CLONE_FLAGS, BlobError, BootstrapData
from nsenter.commands import add_file
from nsenter.document import to_document
from nsenter.namespaces import namespace_types
from nsenter.wire import attribute_name

_HEX = re.compile(rb"[0-9a-fA-F\s]+")
REFUSED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The message's file, and the form of the output."""
    add_file(parser, "the message")
    parser.add_argument("--json", action="store_true", help="print JSON that `encode` takes")


def _explain_value(attribute: Attribute) -> str:
    value = attribute.value
    if attribute.type == CLONE_FLAGS and isinstance(value, int):
        kinds = [k.ns_name() for k in namespace_types() if value & k.clone_flag]
        return f"{value:#010x}  new: {', '.join(kinds) or 'none'}"
    if isinstance(value, bytes):
        return repr(value.decode(errors="backslashreplace"))
    return str(value)


def _explain(blob: bytes) -> None:
    print(f"{len(blob)} bytes: a header of 16, then")
    attributes, _ = scan_attributes(blob)
    for offset, attribute in attributes:
        name = f"{attribute_name(attribute.type)} ({attribute.type})"
        print(f"{offset:6}  {name:22} {attribute.kind:6} {_explain_value(attribute)}")


def execute(args: argparse.Namespace) -> int:
    """Print the explanation; 1 where the message is refused."""
    blob = args.file.read()
    if _HEX.fullmatch(blob):
        blob = bytes.fromhex(blob.decode())
    try:
        data = BootstrapData.decode(blob)
    except BlobError as error:
        if not args.json:
            _explain(blob)
        print(f"refused: {error}", file=sys.stderr)
        return REFUSED
    if args.json:
        print(json.dumps(to_document(data), indent=2))
    else:
        _explain(blob)
    return 0
