"""The test runner continues whatever a test leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent

# Garbage whose finalizer parses a source, as the report of a lost asyncio task does, at each run
# of the garbage collector until the test's report is there; and a source so long that the collector
# runs while it is parsed.
FAILING = f"""
import ast
import pytest

class Garbage:
    needed = True

    def __init__(self):
        self.cycle = self

    def __del__(self):
        if self.needed:
            parse(20)
            Garbage()

def parse(depth):
    if depth:
        return parse(depth - 1)
    return ast.parse("1 + 1")

@pytest.fixture
def garbage():
    yield Garbage
    Garbage.needed = False

def test_that_fails(garbage):
    garbage()
    assert not {list(range(5000))}
"""


def test_garbage_that_parses_sources_does_not_end_the_run(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(FAILING)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*words, "--rootdir", tmp_path, file],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": f"{TESTS}:{TESTS / 'support'}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout + done.stderr


TOUR = "tests/test_nsenter/test_show_around.py"


def run_without_namespaces(**environment: str) -> subprocess.CompletedProcess[str]:
    """Tests that take namespaces, where there are none."""
    script = 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"'
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", TOUR]
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-ec", script, "sh", *pytest],
        env={"PATH": os.environ["PATH"], **environment},
        cwd=TESTS.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_what_a_place_cannot_run_is_skipped_and_summed_up() -> None:
    done = run_without_namespaces()
    assert done.returncode == 0, done.stdout + done.stderr
    _, _, summary = done.stdout.partition("= not tested here =")
    line = summary.splitlines()[1].split(maxsplit=1)
    assert int(line[0]) == Path(TESTS.parent, TOUR).read_text().count("def test_")
    assert line[1].startswith("new user namespaces: `python -m nsenter doctor` says")


def test_in_ci_nothing_is_skipped() -> None:
    done = run_without_namespaces(CI="true")
    assert done.returncode == 1 and "not tested here" not in done.stdout
