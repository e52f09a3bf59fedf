"""Tools of the machine that a test cannot do without.

A test whose tool is missing is skipped, with what to install, and the summary of the run says so.
In CI that is a failure: a test that is skipped has tested nothing.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest

# As in CI, where the tests run as root; NSENTER_TEST_ALL=1 asks for it elsewhere.
NOTHING_IS_SKIPPED = (
    os.environ.get("CI") == "true" and os.geteuid() == 0
) or "NSENTER_TEST_ALL" in os.environ

_ADMIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on an ordinary user's PATH


def lacks(what: str) -> NoReturn:
    """Skip the test for want of something, or fail it where nothing is skipped."""
    if NOTHING_IS_SKIPPED:
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def needs(tool: str, *, package: str) -> Path:
    """The absolute path of `tool`; without it, skips the test and names Debian's `package`."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMIN_FOLDERS))
    found = shutil.which(tool, path=folders)
    if found is None:
        lacks(f"{tool} is not installed; on Debian: apt-get install {package}")
    return Path(found)
