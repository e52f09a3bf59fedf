# SPDX-License-Identifier: Apache-2.0
"""Of many similar cases the quick run tries some: the others get the marker `sweep`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], *kept: Any) -> list[Any]:
    """Return the cases for `parametrize`; those that are not kept only `make test-all` runs.

    A case that is a tuple has the values of several arguments; it is kept as a whole, or by the
    first of them.
    """
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    missing = [case for case in kept if all(case not in (row, row[0]) for row in rows)]
    if missing or not kept:
        raise ValueError(f"kept must name cases of the list; not in it: {missing}")
    return [_marked(row, is_kept=row in kept or row[0] in kept) for row in rows]


def every(step: int, cases: Iterable[Any]) -> list[Any]:
    """Return the cases for `parametrize`; of `step` in a row the quick run has the first."""
    rows = [case if isinstance(case, tuple) else (case,) for case in cases]
    return [_marked(row, is_kept=number % step == 0) for number, row in enumerate(rows)]


def _marked(row: tuple[Any, ...], *, is_kept: bool) -> Any:
    return pytest.param(*row, marks=[] if is_kept else [pytest.mark.sweep])
