# SPDX-License-Identifier: Apache-2.0
"""The Makefile names tests that there are: pytest would run none of its list otherwise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("target", ["test-boot", "test-imports"])
def test_the_tests_of_a_target_exist(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", target],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    named = {*re.findall(r"\btests/\S+\.py\b", done.stdout)}
    assert len(named) >= 2
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
