# SPDX-License-Identifier: Apache-2.0
"""The man pages in docs/man are up to date with the tables that they are made from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from libcontainer.pyrunc import options as pyrunc
from needs import needs
from nsenter import __main__ as pynsenter
from nsenter.commands.run_options import OPTIONS

FOLDER = Path(__file__).parents[1] / "docs/man"
NAMES = ("pynsenter.1", "pyrunc.8")


def generated() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("generate_man_pages", FOLDER / "generate.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


def plain(name: str) -> str:
    """The page without roff's escapes."""
    text = (FOLDER / name).read_text(encoding="ascii")
    return re.sub(r"\\f[BIR]|\\&", "", text).replace("\\-", "-")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_current(name: str) -> None:
    written = (FOLDER / name).read_text(encoding="ascii")
    assert written == generated()[name], "run docs/man/generate.py"


def test_there_are_no_others() -> None:
    assert sorted(generated()) == sorted(NAMES)


def test_the_page_has_each_command_and_option_of_pynsenter() -> None:
    text = plain("pynsenter.1")
    for command in pynsenter._COMMANDS:
        assert f'.SS "{command}"\n' in text
    for option in OPTIONS:
        assert not option.help or f"\n{', '.join(option.names)}" in text, option.names


def test_the_page_has_each_command_and_option_of_pyrunc() -> None:
    text = plain("pyrunc.8")
    for command, (*_, options) in pyrunc.COMMANDS.items():
        _, _, rest = text.partition(f'.SS "{command}"\n')
        own = re.split(r"^\.S[SH] ", rest, maxsplit=1, flags=re.MULTILINE)[0]
        assert own
        assert all(f"\n--{name}" in own for name, *_ in options), command


@pytest.mark.parametrize("name", NAMES)
def test_groff_has_no_complaint(name: str) -> None:
    words = [needs("groff", package="groff-base"), "-man", "-ww", "-z", FOLDER / name]
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
