"""Only their owner can read or change the files of pyrunc's state directory, whatever the umask.

state.json has the container's environment, and the exec fifo starts the program of whoever writes
to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyrunc import NO_STREAMS, Runtime, make_bundle, runtimes


@pytest.fixture
def pyrunc(tmp_path: Path) -> Iterator[Runtime]:
    yield from runtimes(tmp_path)


def _mode(path: Path) -> str:
    return oct(stat.S_IMODE(path.lstat().st_mode))


@pytest.mark.parametrize("umask", [0, 0o077])
def test_only_the_owner_gets_at_the_state_of_a_container(
    pyrunc: Runtime, tmp_path: Path, umask: int
) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    before = os.umask(umask)
    try:
        pyrunc.good("create", "--bundle", bundle, "c", **NO_STREAMS)
    finally:
        os.umask(before)
    folder = pyrunc.root / "c"
    assert _mode(pyrunc.root) == "0o700"
    assert _mode(folder) in ("0o711", "0o700")
    found = {path.name: _mode(path) for path in folder.iterdir()}
    assert {"state.json", "exec.fifo"} <= set(found)
    # The init of a container in a user namespace opens the fifo as its root.
    assert set(found.values()) == {"0o600"}, found
    pyrunc.good("start", "c")
    assert _mode(folder / "state.json") == "0o600"
