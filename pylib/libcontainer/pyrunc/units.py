# SPDX-License-Identifier: Apache-2.0
"""Parse quantities in the forms that runc accepts."""

from __future__ import annotations

import re

_TIME_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_TIME = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = " kmgtp"


def seconds(text: str) -> float:
    """Return the seconds of a duration in Go's form, such as "500ms", "5s" or "1m30s".

    Raises:
        ValueError: the text is not a duration.
    """
    if text == "0":
        return 0.0
    pieces = _TIME.findall(text)
    if not text or "".join(number + unit for number, unit in pieces) != text:
        raise ValueError(f"{text!r} is not a time such as 5s or 500ms")
    return sum(float(number) * _TIME_UNITS[unit] for number, unit in pieces)


def size(text: str) -> int:
    """Return the bytes of a size such as "100", "50M", "1.5g" or "2KiB".

    The units are powers of 1024.

    Raises:
        ValueError: the text is not a size.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    number, unit = match.groups()
    return int(float(number) * 1024 ** _POWERS.index(unit.lower() or " "))
