# SPDX-License-Identifier: Apache-2.0
"""Labels of security modules that this machine does not have are refused.

Nothing but procfs is written to. If the machine has a module, its labels are checked instead.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from libcontainer import labels
from libcontainer.errors import ConfigError
from libcontainer.init.process import labels as init_labels
from nsenter._host.syscalls import Failure

WITHOUT_APPARMOR = not labels.apparmor_is_enabled()
WITHOUT_SELINUX = not labels.selinux_is_enabled()


@pytest.fixture
def proc() -> Iterator[int]:
    fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def enemy(tmp_path: Path) -> Iterator[int]:
    """A /proc whose files say yes to everything."""
    for name in ("apparmor/exec", "exec", "keycreate"):
        file = tmp_path / "thread-self" / "attr" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


SETTERS = [
    (init_labels.set_apparmor_exec, "AppArmor", WITHOUT_APPARMOR),
    (init_labels.set_selinux_exec, "SELinux", WITHOUT_SELINUX),
]


@pytest.mark.parametrize(("setter", "module", "without"), SETTERS)
def test_a_label_that_is_not_taken_is_named(
    setter: Any, module: str, without: bool, proc: int
) -> None:
    with pytest.raises(Failure, match="of_2093") as caught:
        setter(proc, "of_2093")
    if without:
        assert caught.value.errno == errno.EINVAL
        assert f"{module} does not take it" in str(caught.value)


@pytest.mark.parametrize(("setter", "module", "without"), SETTERS)
def test_what_is_no_procfs_is_not_written_to(
    setter: Any, module: str, without: bool, enemy: int, tmp_path: Path
) -> None:
    with pytest.raises(Failure, match="/proc is not a procfs") as caught:
        setter(enemy, "of_2093")
    assert caught.value.errno == errno.EXDEV
    assert not any(file.read_text() for file in tmp_path.rglob("*") if file.is_file())


def test_a_link_out_of_proc_is_not_followed(enemy: int, tmp_path: Path) -> None:
    file = tmp_path / "thread-self" / "attr" / "exec"
    file.unlink()
    file.symlink_to("/proc/thread-self/attr/exec")
    with pytest.raises(Failure) as caught:
        init_labels.set_selinux_exec(enemy, "of_2093")
    assert caught.value.errno == errno.EXDEV


def test_keys_without_a_label_are_left_alone() -> None:
    with init_labels.KeyLabel(""):
        pass


def test_keys_with_a_label_that_is_not_taken_are_not_made() -> None:
    with pytest.raises(Failure, match="set SELinux label of keys of_2093"):
        init_labels.KeyLabel("of_2093").__enter__()


def test_nothing_asked_is_nothing_refused() -> None:
    labels.check()


@pytest.mark.parametrize(
    ("asked", "where", "module", "without"),
    [
        ("apparmor_profile", "process.apparmorProfile", "AppArmor", WITHOUT_APPARMOR),
        ("process_label", "process.selinuxLabel", "SELinux", WITHOUT_SELINUX),
        ("mount_label", "linux.mountLabel", "SELinux", WITHOUT_SELINUX),
    ],
)
def test_a_label_without_its_module_is_refused(
    asked: str, where: str, module: str, without: bool
) -> None:
    if not without and asked != "apparmor_profile":
        labels.check(**{asked: "system_u:object_r:container_file_t:s0"})
        return
    with pytest.raises(ConfigError) as caught:
        labels.check(**{asked: "of_2093"})
    assert caught.value.path == where
    expected = f"{module} is not enabled on this machine" if without else "is not loaded"
    assert expected in caught.value.reason


@pytest.fixture
def apparmor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kernel that has it, as far as files show."""
    (tmp_path / "enabled").write_text("Y\n")
    (tmp_path / "profiles").write_text("docker-default (enforce)\nmy (odd) one (complain)\n")
    monkeypatch.setattr(labels, "_APPARMOR", str(tmp_path))
    monkeypatch.setattr(labels, "_APPARMOR_PARAMETER", str(tmp_path / "enabled"))
    return tmp_path


@pytest.mark.parametrize(
    "profile", ["docker-default", "my (odd) one", "unconfined", ":ns:one", "a//&b"]
)
def test_a_profile_that_is_loaded_is_taken(apparmor: Path, profile: str) -> None:
    labels.check(apparmor_profile=profile)


def test_a_profile_that_is_not_loaded_is_refused(apparmor: Path) -> None:
    with pytest.raises(ConfigError, match="'docker' is not loaded; load it with"):
        labels.check(apparmor_profile="docker")


def test_where_profiles_cannot_be_listed_the_kernel_decides(apparmor: Path) -> None:
    (apparmor / "profiles").unlink()
    labels.check(apparmor_profile="docker")


def test_apparmor_that_is_switched_off_is_not_enabled(apparmor: Path) -> None:
    (apparmor / "enabled").write_text("N\n")
    assert not labels.apparmor_is_enabled()


def test_a_folder_that_is_no_selinuxfs_is_no_selinux(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "_SELINUX", str(tmp_path))
    assert not labels.selinux_is_enabled()
