"""The image of a command's modules: whole or not at all, and of what the command uses."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from libcontainer.pyrunc import image

# Each behind those that it imports.
NAMES = ("nsx_made.inner", "nsx_made", "nsx_made_user")
SOURCES = {
    "nsx_made/__init__.py": "from nsx_made.inner import VALUE",
    "nsx_made/inner.py": "VALUE = 7",
    "nsx_made_user.py": "from nsx_made import VALUE",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Modules of three sources, and a place for images; as if each test were a command's start."""
    for path, text in SOURCES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(image, "_PACKAGES", ("nsx_made", "nsx_made_user"))
    monkeypatch.setattr(image, "_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.setattr(image, "_may_write", lambda: True)
    yield tmp_path
    forget()


def forget() -> None:
    """What the last command has imported, and its image."""
    for name in NAMES:
        sys.modules.pop(name, None)
    sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, image._Image)]
    image._image, image._command, image._urgent = image._Image((), (), 0), "", []


def run(command: str = "run", *, uses: str = "nsx_made_user", status: int = 0) -> list[str]:
    """A command's life; returns what was there before it asked."""
    forget()
    image.install(command)
    there = [name for name in NAMES if name in sys.modules]
    __import__(uses)
    assert sys.modules[uses].VALUE == 7
    assert sys.modules["nsx_made"].inner.VALUE == 7
    image.save(status)
    return there


def learn() -> None:
    """The first time it is written, the second time the order is known."""
    run()
    run()


def test_what_a_command_used_is_there_before_it_asks() -> None:
    learn()
    assert run() == [*NAMES]
    assert image._image.made == [*NAMES]


def test_another_command_has_an_image_of_its_own() -> None:
    learn()
    assert run("create") == []


def test_what_is_no_command_has_none(folder: Path) -> None:
    run("nonsense")
    assert not [*folder.glob("*nonsense*")]


@pytest.mark.parametrize("changed", SOURCES)
def test_nothing_is_half_made_where_a_source_has_changed(folder: Path, changed: str) -> None:
    learn()
    (folder / changed).write_text(f"{SOURCES[changed]}\nMORE = 1")
    assert run() == []
    run()
    assert run() == [*NAMES]


def test_it_is_learnt_anew_where_a_module_that_is_used_no_more_has_changed(folder: Path) -> None:
    learn()
    (folder / "nsx_made_user.py").write_text("CHANGED = 1")
    run(uses="nsx_made")
    run(uses="nsx_made")
    assert run(uses="nsx_made") == ["nsx_made.inner", "nsx_made"]


def test_a_command_that_failed_teaches_nothing(folder: Path) -> None:
    run(status=1)
    assert not [*folder.glob("*.image")]


def test_what_has_time_is_not_made_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    def patient() -> list[str]:
        forget()
        image.install("run")
        there = [name for name in NAMES if name in sys.modules]
        __import__("nsx_made")
        image.rest_has_time()
        __import__("nsx_made_user")
        image.save()
        return there

    patient()
    patient()
    assert patient() == ["nsx_made.inner", "nsx_made"]


def test_what_others_could_have_written_is_not_used(folder: Path) -> None:
    learn()
    (written,) = folder.glob("pyrunc-run*.image")
    written.chmod(0o666)
    assert run() == []


@pytest.mark.parametrize("size", [0, 1, 40, 100])
def test_one_that_was_cut_short_is_not_used(folder: Path, size: int) -> None:
    learn()
    (written,) = folder.glob("pyrunc-run*.image")
    os.truncate(written, size)
    assert run() == []
