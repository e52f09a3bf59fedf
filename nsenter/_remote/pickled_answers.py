# SPDX-License-Identifier: Apache-2.0
"""Answers of functions that are trusted: pickled there, unpickled here.

What the caller had sent by value comes back as the caller's own. The caller's side is one function,
`callers_class`: cloudpickle is not used on this way.
"""

from __future__ import annotations

import _pickle
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["callers_class", "dumps"]


def dumps(value: object) -> bytes:
    """Pickle an answer, in the namespaces."""
    try:
        return _pickle.dumps(value, -1)
    except Exception:
        if "cloudpickle.cloudpickle" not in sys.modules:  # then nothing has come by value
            raise
    import io

    file = io.BytesIO()
    _OfTheCaller(file, -1).dump(value)
    return file.getvalue()


class _OfTheCaller(_pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type):
            from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_CLASS as by_class

            number = by_class.get(value)
            if number is not None:
                return callers_class, (number,)
        return NotImplemented


def callers_class(number: str) -> type:
    """The class that cloudpickle has sent by this number."""
    from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_ID as by_id

    found: type = by_id[number]
    return found
