# SPDX-License-Identifier: Apache-2.0
"""Make a bootstrap message from JSON.

The keys `namespaces`, `uidMappings`, `gidMappings` and `timeOffsets` are as in the config.json of
OCI. The others are `uidmapPath`, `gidmapPath`, `setgroup`, `oomScoreAdj` and `rootlessEUID`.

example: echo '{"namespaces": [{"type": "pid"}]}' | python -m nsenter encode | xxd
"""

from __future__ import annotations

import json
import sys

from nsenter._message.as_json import from_document
from nsenter.commands import read, read_file
from nsenter.commands.table import Option

_OPTIONS = (Option(("--hex",), "", "write hexadecimal text, not bytes", "hex"),)


def main(words: list[str]) -> int:
    """Write the message to standard output."""
    given = read("encode", __doc__, _OPTIONS, words, "[FILE]")
    if given is None:
        return 0
    name, text = read_file(given)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name}: not JSON: {error}") from None
    blob = from_document(document).encode()
    sys.stdout.buffer.write(blob.hex().encode() + b"\n" if given.all("hex") else blob)
    return 0
