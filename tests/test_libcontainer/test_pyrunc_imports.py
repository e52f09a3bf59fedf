"""A command imports only what it uses, because imports are most of its start-up time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {
    "argparse", "asyncio", "contextlib", "ctypes", "dataclasses", "inspect", "logging", "pathlib",
    "shutil", "socket", "subprocess", "tempfile", "threading", "typing",
}  # fmt: skip
# The editable install's own finder and site bring some of these; without site none are there.
SCRIPT = """
import sys
sys.path[:0] = {path!r}
before = set(sys.modules)
sys.argv[1:] = {words!r}
import os
def leave(status):
    print(*sorted(set(sys.modules) - before), file=sys.stderr)
    sys.stderr.flush()
    real(status)
real, os._exit = os._exit, leave
from libcontainer.pyrunc.main import main
main()
"""


def imported(*words: str) -> set[str]:
    path = [entry for entry in sys.path if entry]
    from pyrunc import CHECKOUT

    path = [str(CHECKOUT / "pylib"), str(CHECKOUT), *path]
    script = SCRIPT.format(path=path, words=list(words))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, timeout=60
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "words",
    [["state", "nope"], ["start", "nope"], ["kill", "nope"], ["delete", "nope"], ["exec", "nope"]],
)
def test_the_commands_of_every_day_import_little(tmp_path: Path, words: list[str]) -> None:
    names = imported("--root", str(tmp_path), *words)
    assert "libcontainer.pyrunc.context" in names
    assert not names & HEAVY
    commands = {name for name in names if name.endswith("_command")}
    assert commands == {f"libcontainer.pyrunc.commands.{words[0]}_command"}


@pytest.mark.parametrize("command", ["run", "create"])
def test_creating_a_container_imports_little(tmp_path: Path, command: str) -> None:
    (tmp_path / "config.json").write_text('{"process": {"args": ["true"], "cwd": "/"}}')
    names = imported("--root", str(tmp_path / "state"), command, "-b", str(tmp_path), "x")
    assert "libcontainer.specconv" in names
    assert not names & HEAVY
    assert not {"libcontainer.pyrunc.tty", "libcontainer.pyrunc.help", "termios"} & names


def test_the_version_needs_no_container(tmp_path: Path) -> None:
    assert "libcontainer.container" not in imported("--version")
