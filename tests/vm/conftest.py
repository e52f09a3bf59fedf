# SPDX-License-Identifier: Apache-2.0
"""The tests of this folder are for a guest that run.py starts: elsewhere there are none."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop.oci_bundles import make_root, scratch_folder

collect_ignore_glob = {
    "plain": ["test_systemd*.py"],
    "systemd": ["test_[!s]*.py", "test_sandbox*.py"],
}.get(os.environ.get("VM_GUEST", ""), ["*"])
sys.path.insert(0, str(Path(__file__).parent))

from containers import RUNTIMES, Runtime, runtime  # noqa: E402  (beside this file)

_SECONDS = 100  # an emulated machine is slow; a test that hangs must not take the others with it


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    def fail(*_: object) -> None:
        raise TimeoutError(f"the test took over {_SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a root file system."""
    with scratch_folder() as path:
        make_root(path / "root")
        yield path


@pytest.fixture
def options() -> tuple[str, ...]:
    """Of every command of a runtime."""
    return ()


@pytest.fixture(params=RUNTIMES)
def each(request: pytest.FixtureRequest, folder: Path, options: tuple[str, ...]) -> Runtime:
    """pyrunc, and runc, so that what is expected of the one is known to be true of the other."""
    return runtime(request.param, folder, *options)


@pytest.fixture
def pyrunc(folder: Path, options: tuple[str, ...]) -> Runtime:
    return runtime("pyrunc", folder, *options)
