""".ci/install-packages names what is missing before it does anything, and only root installs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

INSTALL = Path(__file__).resolve().parents[2] / ".ci" / "install-packages"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with nothing but what the script itself takes, and a false apt-get."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "id").symlink_to("/usr/bin/id")
    program(folder, "apt-get", f'echo "$@" >>{tmp_path}/apt')
    program(folder, "python3", "exit 0")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def install(tools: Path, words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", INSTALL, *words.split()],
        env={"PATH": str(tools), **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def apt(tools: Path) -> list[str]:
    asked = tools.parent / "apt"
    return asked.read_text().splitlines() if asked.exists() else []


def test_root_installs_after_a_line_that_names_what(tools: Path) -> None:
    done = install(tools, "build")
    first, *_ = done.stderr.splitlines()
    assert first == "Installing with apt-get (NSENTER_INSTALL=0 prevents that): gcc"
    assert [line for line in apt(tools) if line.startswith("install") and line.endswith(" gcc")]
    assert done.returncode == 1, "the false apt-get has installed nothing"


def test_a_variable_prevents_it(tools: Path) -> None:
    done = install(tools, "build", NSENTER_INSTALL="0")
    assert done.stderr == "Missing for `build`: gcc (on Debian, as root: apt-get install gcc)\n"
    assert done.returncode == 1 and apt(tools) == []


def test_a_user_is_told_in_the_first_line_and_the_tests_go_on(tools: Path) -> None:
    (tools / "id").unlink()
    program(tools, "id", "echo 1000")
    done = install(tools, "lint")
    assert done.stderr.splitlines()[0].startswith("Missing for `lint`: clang-format (on Debian")
    assert done.returncode == 0 and apt(tools) == []


def test_what_there_is_is_not_mentioned(tools: Path) -> None:
    program(tools, "cc", "exit 0")
    done = install(tools, "build")
    assert (done.returncode, done.stdout, done.stderr, apt(tools)) == (0, "", "", [])
