"""As preloaded_blas, by the threads of pyarrow."""

from __future__ import annotations

import pyarrow
import pyarrow.compute

from preloaded import threads

_ROWS = 1 << 16


def grouped() -> tuple[list[int], int]:
    """The sums of groups, and how many threads there are then."""
    table = pyarrow.table({"key": [n % 4 for n in range(_ROWS)], "value": [1] * _ROWS})
    sums = table.group_by("key", use_threads=True).aggregate([("value", "sum")])
    return sorted(sums["value_sum"].to_pylist()), threads()


at_import = grouped()


def both() -> tuple[tuple[list[int], int], tuple[list[int], int]]:
    return at_import, grouped()
