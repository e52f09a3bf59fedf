# SPDX-License-Identifier: Apache-2.0
"""Checks of arguments that several public functions and values share."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._host.records import Value

__all__ = ["FLAG", "check_flags", "names"]

FLAG = "True or False"


def check_flags(value: Value, *names: str) -> None:
    """Raise TypeError if one of these fields of a value is neither True nor False.

    A text such as "no" would count as True.
    """
    for name in names:
        given = getattr(value, name)
        if not isinstance(given, bool):
            raise TypeError(f"{name} must be {FLAG}, not {given!r}")


def names(field: str, given: Any) -> tuple[str, ...]:
    """Return a sequence of names as a tuple.

    Raises:
        TypeError: it is none, or a single name; the message has `field`.
    """
    if not isinstance(given, (str, bytes)) and hasattr(given, "__iter__"):
        found = tuple(given)
        if all(isinstance(name, str) for name in found):
            return found
    raise TypeError(f"{field} must be a sequence of names, not {given!r}")
