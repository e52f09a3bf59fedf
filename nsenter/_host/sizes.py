# SPDX-License-Identifier: Apache-2.0
"""Numbers of bytes as people write them: 67108864 or "64M"."""

from __future__ import annotations

__all__ = ["in_bytes"]

_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def in_bytes(value: object) -> int | None:
    """Return the number of bytes for a whole number or a text such as "64M", "64 MiB" or "1g".

    K is 1024. None means that the value is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if not isinstance(value, str):
        return None
    word = value.strip().lower().removesuffix("b").removesuffix("i")
    digits = word.rstrip("kmgt")
    power = _UNITS.get(word[len(digits) :])
    digits = digits.rstrip()
    if power is None or not (digits.isascii() and digits.isdecimal()):
        return None
    factor: int = 1024**power
    return int(digits) * factor
