# SPDX-License-Identifier: Apache-2.0
"""Make a bootstrap message from JSON: `namespaces`, `uidMappings`, `gidMappings`, `timeOffsets` as
in the OCI config.json; `uidmapPath`, `gidmapPath`, `setgroup`, `oomScoreAdj`, `rootlessEUID`.

example: echo '{"namespaces": [{"type": "pid"}]}' | python -m nsenter encode | xxd
"""

from __future__ import annotations

import argparse
import json
import sys

from nsenter.commands import add_file
from nsenter.document import from_document


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The JSON file, and the form of the output."""
    add_file(parser, "the JSON document")
    parser.add_argument("--hex", action="store_true", help="write hexadecimal text, not bytes")


def execute(args: argparse.Namespace) -> int:
    """Write the message to standard output."""
    try:
        document = json.loads(args.file.read())
    except ValueError as error:
        raise ValueError(f"{args.file.name}: not JSON: {error}") from None
    blob = from_document(document).encode()
    sys.stdout.buffer.write(blob.hex().encode() + b"\n" if args.hex else blob)
    return 0
