"""Every test that the table of required rights names exists."""

from __future__ import annotations

from pathlib import Path

import pytest

from places.needed import MACHINE, REASONS, needed

TESTS = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(("file", "test"), REASONS, ids=str)
def test_a_reason_is_that_of_a_test_which_needs_the_machines_root(file: str, test: str) -> None:
    assert test == "*" or f"def {test}(" in (TESTS / file).read_text()
    assert needed(file, test) == MACHINE
