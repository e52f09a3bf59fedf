# SPDX-License-Identifier: Apache-2.0
"""The quick run has the cases that are named, and a name that no case has is an error."""

from __future__ import annotations

from typing import Any

import pytest

from sweeps import every, some


def _kept(params: list[Any]) -> list[object]:
    return [param.values for param in params if not param.marks]


def test_a_case_is_kept_by_its_value_its_first_value_or_as_a_whole() -> None:
    assert _kept(some("abc", "a", "c")) == [("a",), ("c",)]
    assert _kept(some([("a", 1), ("a", 2), ("b", 1)], "b", ("a", 2))) == [("a", 2), ("b", 1)]
    assert len(some("abc", "a")) == 3


@pytest.mark.parametrize("kept", [(), ("d",), ("a", "d"), (("a", 1),)])
def test_what_is_kept_must_be_there(kept: tuple[object, ...]) -> None:
    with pytest.raises(ValueError, match="kept must name cases of the list"):
        some("abc", *kept)


def test_of_each_row_of_cases_the_first_is_kept() -> None:
    assert _kept(every(2, ["a", ["b"], ("c", 3)])) == [("a",), ("c", 3)]
    assert len(every(2, "abc")) == 3
