# SPDX-License-Identifier: Apache-2.0
"""Answers of trusted functions: they are pickled in the namespaces and unpickled by the caller.

An instance of a class that the caller has sent by value is unpickled as an instance of the caller's
own class. The caller's side is only one function, `callers_class`: cloudpickle does not write these
answers.
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
        if "cloudpickle.cloudpickle" not in sys.modules:  # then no class was sent by value
            raise
    import io

    file = io.BytesIO()
    _AnswerPickler(file, -1).dump(value)
    return file.getvalue()


class _AnswerPickler(_pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, type):
            from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_CLASS as by_class

            number = by_class.get(value)
            if number is not None:
                return callers_class, (number,)
        return NotImplemented


def callers_class(number: str) -> type:
    """Return the class that cloudpickle has sent with this number."""
    from cloudpickle.cloudpickle import _DYNAMIC_CLASS_TRACKER_BY_ID as by_id

    found: type = by_id[number]
    return found
