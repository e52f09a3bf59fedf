"""The table of deliberate faults is up to date, and `make mutants` applies each to a copy."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "mutants"))
try:
    import run  # type: ignore[import-not-found]
    from table import MUTANTS, Mutant  # type: ignore[import-not-found]
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


ROW = Mutant("a promise", "file.py", "kept = True", "kept = False", ("tests/test_it.py::test_it",))


def test_a_stale_row_ends_the_run_before_anything_is_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = Mutant("a promise", "README.md", "text that is nowhere", "", ROW.tests)
    monkeypatch.setattr(run, "MUTANTS", [*MUTANTS, stale])
    monkeypatch.setattr(run, "copy_of_the_checkout", lambda folder: pytest.fail("it was copied"))
    monkeypatch.setattr(sys, "argv", ["run.py", "keyrings"])
    assert run.main() == 2
    assert "README.md: a promise: the text stands there 0 times" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "output", "told", "is_noticed"),
    [
        (2, "FAILED tests/a.py::test_b[c] - No", "noticed by tests/a.py::test_b[c]", True),
        (1, "ERROR tests/a.py::test_b - No", "noticed by tests/a.py::test_b", True),
        (run._HANGS, "", "noticed: its tests do not end", True),
        (0, "3 passed in 1.0s", "NOT NOTICED", False),
        (0, "3 skipped in 1.0s", "NOT TRIED", False),
        (4, "ERROR: not found: tests/a.py::b", "NO SUCH TEST", False),
        (2, "ERROR tests/a.py - SyntaxError\n1 error in 1.0s", "THE TESTS DID NOT RUN", False),
    ],
)
def test_a_row_is_applied_and_taken_back(
    status: int, output: str, told: str, is_noticed: bool, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = tmp_path / ROW.file
    file.write_text(f"# x\n{ROW.old}\n")
    seconds = [int(file.stat().st_mtime)]

    def tests(folder: Path, names: object) -> tuple[int, str]:
        assert (file.read_text(), names) == (f"# x\n{ROW.new}\n", ROW.tests)
        seconds.append(int(file.stat().st_mtime))
        return status, output

    monkeypatch.setattr(run, "run_tests", tests)
    tried = run.Run(tmp_path)
    tried.try_one(ROW)
    seconds.append(int(file.stat().st_mtime))
    assert file.read_text() == f"# x\n{ROW.old}\n"
    assert len(set(seconds)) == 3, "what was compiled of it would be taken for what it is now"
    assert (tried.noticed, tried.unnoticed) == ((1, []) if is_noticed else (0, [ROW.promise]))
    assert f"a promise: {told}" in capsys.readouterr().out
