# SPDX-License-Identifier: Apache-2.0
"""Hooks of MkDocs: the pages of the site that are made when it is built.

These are the README and the other pages at the top of the checkout, the reference of the public
names, from their docstrings, and the reference of the commands, from their own help.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import libcontainer
import nsenter

TOP = Path(__file__).parents[2]
# Pages at the top of the checkout, by their names in the site.
COPIED = {
    "index.md": "README.md",
    "security.md": "SECURITY.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
# Links that lead to no page of the site; only their text is kept.
_ELSEWHERE = re.compile(r"\[([^\]]+)\]\((?:\.\./)?(?:docs/)?(?:benchmarks|examples)/[^)]*\)")
_LINK = re.compile(r"(?<=\]\()(?:\.\./)?(?:docs/)?([\w.-]+\.md)(?=[#)])")
_COMMENT = re.compile(r"^<!-- .* -->\n", re.MULTILINE)
_OTHERS = ("nsenter.launch.launch", "nsenter.presets", "nsenter.seccomp", "nsenter.idmap")


def on_files(files: Files, config: Any) -> Files:
    index = files.get_file_from_path("README.md")
    if index is not None:
        files.remove(index)  # the README of the checkout takes its place
    pages = {name: (TOP / source).read_text(encoding="utf-8") for name, source in COPIED.items()}
    for name, text in (pages | _references()).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Make links to files of the checkout links to pages of the site."""
    text = _COMMENT.sub("", _ELSEWHERE.sub(r"\1", markdown))
    names = {source: name for name, source in COPIED.items()}
    return _LINK.sub(lambda found: names.get(found[1], found[1]), text)


def _references() -> dict[str, str]:
    names = [f"nsenter.{name}" for name in nsenter.__all__]
    return {
        "reference-nsenter.md": _objects("The package nsenter", [*names, *_OTHERS]),
        "reference-libcontainer.md": _objects(
            "The package libcontainer", [f"libcontainer.{name}" for name in libcontainer.__all__]
        ),
        "reference-command.md": _helps(
            "The command nsenter", "python -m nsenter", [sys.executable, "-m", "nsenter"]
        ),
        "reference-pyrunc.md": _helps(
            "The command pyrunc", "pyrunc", [str(Path(sys.executable).with_name("pyrunc"))]
        ),
    }


def _objects(title: str, names: list[str]) -> str:
    return f"# {title}\n\n" + "\n".join(f"::: {name}\n" for name in names)


def _helps(title: str, spelled: str, argv: list[str]) -> str:
    """A program's help, and that of each command that it lists."""
    overview = _help(argv)
    listed = re.search(r"^commands:\n((?:[ ]+.*\n)+)", overview, re.MULTILINE | re.IGNORECASE)
    assert listed, f"{spelled} --help lists no commands"
    parts = [f"# {title}\n\n```text\n{overview}```\n"]
    for name in (line.split()[0] for line in listed[1].splitlines()):
        parts.append(f"## {spelled} {name}\n\n```text\n{_help([*argv, name])}```\n")
    return "\n".join(parts)


def _help(argv: list[str]) -> str:
    done = subprocess.run(
        [*argv, "--help"], env={**os.environ, "COLUMNS": "100"}, stdout=subprocess.PIPE,
        check=True, text=True, timeout=60,
    )  # fmt: skip
    return done.stdout.rstrip() + "\n"
