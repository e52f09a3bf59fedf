"""Tools of the machine that a test cannot do without.

A test that skips where its tool is missing passes without having tested anything, so a missing
tool is a failure, and the failure says what to install.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

_ADMIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # not on an ordinary user's PATH


def needs(tool: str, *, package: str) -> Path:
    """The absolute path of `tool`; without it, fails the test and names Debian's `package`."""
    folders = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMIN_FOLDERS))
    found = shutil.which(tool, path=folders)
    if found is None:
        pytest.fail(f"{tool} is not installed; on Debian: apt-get install {package}", pytrace=False)
    return Path(found)
