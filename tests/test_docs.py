# SPDX-License-Identifier: Apache-2.0
"""The pages show code that runs, and what it prints: docs/examples, as root and as a user."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rootless
from pages import EXAMPLES, PAGES, ROOT, Block, Run, blocks, prose

SECONDS = 60
AS_ROOT = os.geteuid() == 0
BLOCKS = [block for page in PAGES for block in blocks(page)]
RUNS = {run.script: run for run in (block.run for block in BLOCKS) if run}
# The rest runs as either.
ROOT_ONLY = {"container.py", "no_python.py"}
USER_ONLY = {"rootless.py"}


def named(block: Block) -> str:
    return f"{block.page.name}: {block.source or block.text.splitlines()[0]}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=named)
def test_code_on_a_page_is_that_of_a_script(block: Block) -> None:
    assert block.said is not None, "name its script and section before it"
    assert block.text == block.said, "python tests/pages.py writes it anew"


def test_each_script_is_run_on_a_page() -> None:
    # network.py is imported by one that is, besides.
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(RUNS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", prose(page)):
        assert (page.parent / link).exists(), link


def check(run: Run, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert run.matches(done.stdout), f"printed:\n{done.stdout}"


@pytest.mark.skipif(not AS_ROOT, reason="what only root may do")
@pytest.mark.parametrize("script", sorted({*RUNS} - USER_ONLY))
def test_a_script_prints_what_its_page_shows(script: str) -> None:
    argv = [sys.executable, *RUNS[script].arguments]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT, check=False
    )
    check(RUNS[script], done)


@pytest.mark.parametrize("script", sorted({*RUNS} - ROOT_ONLY))
def test_a_script_prints_the_same_for_a_user(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")  # the folder is root's
    check(RUNS[script], rootless.as_user([sys.executable, *RUNS[script].arguments]))
