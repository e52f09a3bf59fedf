"""The table of deliberate breaks is up to date: `make mutants` can apply each of its rows."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "mutants"))
try:
    from table import MUTANTS, Mutant
finally:
    sys.path.pop(0)


def _is_there(test: str) -> bool:
    file, _, name = test.partition("::")
    path = TOP / file
    if not path.is_file():
        return False
    name = name.partition("[")[0]
    return (
        not name
        or re.search(rf"^(async )?def {re.escape(name)}\(", path.read_text(), re.M) is not None
    )


@pytest.mark.parametrize("mutant", MUTANTS, ids=[m.promise for m in MUTANTS])
def test_a_break_finds_its_text_once_and_its_tests(mutant: Mutant) -> None:
    count = (TOP / mutant.file).read_text().count(mutant.old)
    assert count == 1, f"stale: the text stands {count} times in {mutant.file}"
    assert mutant.new != mutant.old
    missing = [test for test in mutant.tests if not _is_there(test)]
    assert mutant.tests and not missing, f"no such test: {missing}"


def test_each_promise_is_broken_once() -> None:
    promises = [mutant.promise for mutant in MUTANTS]
    assert len(set(promises)) == len(promises)
