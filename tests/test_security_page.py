"""Each promise of SECURITY.md names a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "SECURITY.md").read_text()


def test_each_file_and_each_test_that_is_named_exists() -> None:
    paths = list(TESTS.rglob("test_*.py"))
    everything = "\n".join(path.read_text() for path in paths)
    files = set(re.findall(r"test_\w+\.py", PAGE))
    names = set(re.findall(r"\btest_\w+\b(?!\.py|/)", PAGE))
    assert len(files) > 20
    assert not files - {path.name for path in paths}
    assert not {name for name in names if f"def {name}(" not in everything}


def test_each_promise_names_a_test() -> None:
    promises = [line for line in PAGE.splitlines() if line.startswith("| ")]
    rows = [line for line in promises if "---" not in line and "| the test |" not in line]
    assert len(rows) > 20
    assert not [row for row in rows if not re.search(r"test_\w+|the same", row.split("|")[2])]
