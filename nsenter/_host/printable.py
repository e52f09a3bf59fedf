# SPDX-License-Identifier: Apache-2.0
"""Text from somewhere else, for a terminal or a log: nothing in it is an order to either.

A name or an error that comes from a container can hold escape sequences, which a terminal carries
out; newlines, which make lines that nobody has written; controls of the second set (C1), which are
escape sequences of one character; bytes that are no UTF-8, which some terminals take for those; and
marks that turn the direction of what follows.
"""

from __future__ import annotations

__all__ = ["printable"]

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FIRST_UNDECODED = 0xDC00  # PEP 383


def printable(text: str, *, keep: str = "") -> str:
    r"""Return the text with an escape, such as "\x1b" or "\n", for each invisible character.

    Args:
        text: the text.
        keep: characters that are left unchanged.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
        return f"\\x{code - _FIRST_UNDECODED:02x}"
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
