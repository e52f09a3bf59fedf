"""Only a state directory that no other user can change is trusted; when cgroups may be missing."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from libcontainer.errors import ContainerError
from libcontainer.pyrunc import state_root


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An ordinary user with a runtime folder."""
    monkeypatch.setattr(state_root.os, "geteuid", lambda: tmp_path.stat().st_uid or 1)  # type: ignore[attr-defined]
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    if os.getuid() == 0:
        os.chown(tmp_path, 1, 1)
    return tmp_path


def test_roots_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_root.os, "geteuid", lambda: 0)  # type: ignore[attr-defined]
    monkeypatch.setattr(state_root, "in_user_namespace", lambda: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    assert state_root.state_root("") == "/run/pyrunc"


def test_what_is_given_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert state_root.state_root("state") == str(tmp_path / "state")


def test_a_containers_root_who_is_a_user_outside_has_a_users(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(state_root.os, "geteuid", lambda: 0)  # type: ignore[attr-defined]
    monkeypatch.setattr(state_root, "in_user_namespace", lambda: True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("USER", "somebody")
    assert state_root.state_root("") == f"{tmp_path}/pyrunc"
    monkeypatch.setenv("USER", "root")
    assert state_root.state_root("") == "/run/pyrunc"


def test_a_users_is_private_and_stays(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place = state_root.state_root("")
    assert place == f"{user}/pyrunc"
    monkeypatch.setattr(state_root, "_check", lambda _: None)  # what a test makes is root's
    state_root.make_private(place)
    assert stat.S_IMODE(Path(place).stat().st_mode) == 0o1700


def test_without_a_runtime_folder_it_is_in_tmp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_root.os, "geteuid", lambda: 123456)  # type: ignore[attr-defined]
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert state_root.state_root("") == "/tmp/pyrunc-123456"


@pytest.mark.parametrize("how", ["of another user", "writable", "a link", "a file"])
def test_what_another_may_have_made_is_not_believed(user: Any, how: str) -> None:
    place = user / "pyrunc"
    if how == "a link":
        place.symlink_to("/tmp")
    elif how == "a file":
        place.touch()
        os.chown(place, 1, 1)
    else:
        place.mkdir()
        os.chown(place, 2 if how == "of another user" else 1, 1)
        place.chmod(0o777 if how == "writable" else 0o700)
    with pytest.raises(ContainerError, match="can be changed by another user"):
        state_root.state_root("")


@pytest.mark.parametrize(
    ("word", "euid", "inside", "systemd", "expected"),
    [
        ("auto", 0, False, False, False),
        ("auto", 0, True, False, True),
        ("auto", 1000, False, False, True),
        ("auto", 1000, False, True, True),
        ("auto", 0, False, True, False),
        ("auto", 0, True, True, False),
        ("true", 0, False, False, True),
        ("false", 1000, True, False, False),
    ],
)
def test_rootless(
    monkeypatch: pytest.MonkeyPatch, word: Any, euid: Any, inside: Any, systemd: Any, expected: Any
) -> None:
    monkeypatch.setattr(state_root.os, "geteuid", lambda: euid)  # type: ignore[attr-defined]
    monkeypatch.setattr(state_root, "in_user_namespace", lambda: inside)
    assert state_root.may_lack_cgroups(word, systemd=systemd) is expected


def test_rootless_is_one_of_three_words() -> None:
    with pytest.raises(ContainerError, match="true, false or auto"):
        state_root.may_lack_cgroups("maybe", systemd=False)
