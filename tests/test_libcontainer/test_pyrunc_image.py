"""The image of pyrunc's modules: one that has changed is never half used."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from libcontainer.pyrunc import image

NAMES = ("nsx_made", "nsx_made.inner", "nsx_made_user")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> image._Image:
    """An image of a package that imports its own module, and of a module that imports both."""
    sources = {
        "nsx_made": ("nsx_made/__init__.py", "from nsx_made.inner import VALUE"),
        "nsx_made.inner": ("nsx_made/inner.py", "VALUE = 7"),
        "nsx_made_user": ("nsx_made_user.py", "from nsx_made import VALUE"),
    }
    (tmp_path / "nsx_made").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(image, "_PACKAGES", ("nsx_made", "nsx_made_user"))
    for path, text in sources.values():
        (tmp_path / path).write_text(text)
    __import__("nsx_made_user")
    modules = {name: image._compiled(name) for name in NAMES}
    for name in NAMES:
        del sys.modules[name]
    monkeypatch.setattr(image, "_PATH", str(tmp_path / "image"))
    order = ["nsx_made.inner", "nsx_made", "nsx_made_user"]
    image._write(image._packed(modules, {"run": order}))
    loaded = image._load()
    yield loaded
    os.close(loaded._fd)
    for name in NAMES:
        sys.modules.pop(name, None)


def test_what_a_command_used_is_there(made: image._Image) -> None:
    made.preload(made.used["run"])
    assert sys.modules["nsx_made_user"].VALUE == 7
    assert sys.modules["nsx_made"].inner.VALUE == 7


@pytest.mark.parametrize("changed", NAMES)
def test_nothing_is_half_made_where_a_source_has_changed(made: image._Image, changed: str) -> None:
    os.utime(made.index[changed][0], (1, 1))
    made.preload(made.used["run"])
    assert not set(NAMES) & set(sys.modules)
    assert made.outdated


def test_a_command_is_learnt_anew_where_what_it_used_once_has_changed(
    made: image._Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it does not use that module this time."""
    os.utime(made.index["nsx_made_user"][0], (1, 1))
    made.preload(made.used["run"])
    monkeypatch.setattr(image, "_image", made)
    monkeypatch.setattr(image, "_command", "run")
    monkeypatch.setattr(sys, "meta_path", [made, *sys.meta_path])
    __import__("nsx_made")
    image.save()
    latest = image._load()
    try:
        assert list(latest.used["run"]) == ["nsx_made.inner", "nsx_made"]
    finally:
        os.close(latest._fd)
