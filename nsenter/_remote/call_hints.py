# SPDX-License-Identifier: Apache-2.0
"""What typing.get_type_hints finds in the signatures of calls, instead of names of typing.

Importing typing takes 4 ms, a tenth of what importing nsenter.calling takes, and nothing but a
reader of the hints needs it. Type checkers see the names of typing.
"""

from __future__ import annotations

from collections import abc

__all__ = ["IO", "Any", "Callable", "P", "T"]

Any = T = object


class P:
    """Any parameters, for a ParamSpec."""

    args = kwargs = object


class IO:
    """Any stream."""

    def __class_getitem__(cls, of: object) -> object:
        return object


class Callable:
    """collections.abc.Callable, which takes no P."""

    def __class_getitem__(cls, of: tuple[object, object]) -> object:
        parameters, result = of
        return abc.Callable[... if parameters is P else parameters, result]
